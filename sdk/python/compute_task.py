"""The resource of the interface `compute-task`: componentize-py looks for it under this name."""

from bindery_sdk import SessionOf
from task import task


class Session(SessionOf):
    pass


Session.task = task
