"""Networks: functions (x, num_classes, *, option=default) -> logits."""
