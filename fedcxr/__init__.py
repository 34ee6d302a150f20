"""Find out how useful shared chest X-rays would be, and who could be re-identified from them, before sharing them."""

__version__ = "0.1.0"
