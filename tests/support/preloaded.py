"""What the fork server of tests.support.forked_commands imports before it forks."""

from trainer.cli import process_settings
from trainer.monitoring import native_output

process_settings.configure_process()
with native_output.suppress_native_stderr():
    import sklearn.metrics  # noqa: F401

    import eval.reports.report_builder  # noqa: F401
    import export.lite.tflite_writer  # noqa: F401
    import export.serving.saved_model_writer  # noqa: F401
    import trainer.training.start  # noqa: F401
