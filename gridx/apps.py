from django.apps import AppConfig


class GridxConfig(AppConfig):
    name = "gridx"

    def ready(self) -> None:
        from gridx import checks  # noqa: F401  registers them
