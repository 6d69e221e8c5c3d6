"""Texts that a platform expands, written so that they arrive as they were typed.

>>> literal("pa$$x $(HOME)")
'pa$$$$x $$(HOME)'

Kubernetes replaces $(NAME) and makes $$ to $ in a container's command, arguments,
environment and probes; Vertex AI does the same:
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/EnvVar
"""


def literal(text: str) -> str:
    """`text` for such a place: every dollar is doubled."""
    return text.replace("$", "$$")
