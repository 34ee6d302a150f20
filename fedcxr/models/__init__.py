"""Networks: nn.Module only, no data and no training."""
