"""What componentize-py exports: the task of the module `task`."""

import bindery_sdk
from task import task
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import bindery_task_types


class Definition(exports.Definition):
    def describe(self):
        return [bindery_sdk.lower_definition(task.definition)]

    def validate(self, request):
        return bindery_sdk.lower_validate(task, request)


class ComputeTask(exports.ComputeTask):
    def profile(self, task):
        return bindery_sdk.NO_ROWS

    def merge(self, request, parts):
        raise Err(bindery_task_types.Error_Unsupported("this task does not merge parts"))
