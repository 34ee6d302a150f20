"""Ways of sharing: one file per method. What a method returns is all that leaves a hospital."""

from fedcxr.context import Progress, RunContext
from fedcxr.methods._films import FilmMethod, ImageMethod, Protect, ProtectMarked, SharesFilms, to_eight_bits
from fedcxr.methods._method import Form, Held, Judged, Method, Round, guarantee_of
from fedcxr.methods._model import ModelMethod
from fedcxr.view import Films, Masks, Weights

__all__ = [
    "FilmMethod",
    "Films",
    "Form",
    "Held",
    "ImageMethod",
    "Judged",
    "Masks",
    "Method",
    "ModelMethod",
    "Progress",
    "Protect",
    "ProtectMarked",
    "Round",
    "RunContext",
    "SharesFilms",
    "Weights",
    "guarantee_of",
    "to_eight_bits",
]
