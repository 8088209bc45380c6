"""Write Bindery tasks in Python.

    from bindery_sdk import Refused, Result, Task, Violation, log, progress

    class Shout(Task):
        definition = {"id": "text.shout", "version": "1.0.0", "title": "Shout", ...}

        def validate(self, request):
            return request.parameters          # or raise Refused([Violation(...)])

        def compute(self, request):
            return Result({"text": request.parameters["text"].upper()})

    task = Shout()                             # the module `task` has one of this name

A task runs in a sandbox: no network, no clock, no environment, and no `open()`. Files come from
`request.input("slot")`, and `write_out("name", content)` leaves one. Import modules at the top: the
component is made after the imports have run, and nothing can be loaded later. `random` always gives
the same numbers; seed your own generator with `request.seed`.

An exception that is none of this module's is a broken plugin: its traceback is shown with file and
line.
"""

import json

from componentize_py_types import Err, Ok
from wit_world.exports import compute_task as _compute
from wit_world.exports import definition as _definition
from wit_world.imports import bindery_task_types as _types
from wit_world.imports import log as _log
from wit_world.imports import preopens as _preopens
from wit_world.imports import progress as _progress
from wit_world.imports import stderr as _stderr
from wit_world.imports import host_filesystem_types as _files

# One transfer between guest and host.
_PIECE_BYTES = 1 << 20


class Violation:
    """One fault in a request: where (RFC 6901), a stable snake_case code, and a sentence."""

    def __init__(self, pointer, code, message):
        self.pointer, self.code, self.message = pointer, code, message


class Refused(Exception):
    """The request cannot be run as it is; holds all faults."""

    def __init__(self, violations):
        super().__init__("; ".join(fault.message for fault in violations))
        self.violations = list(violations)


class OutputInvalid(Exception):
    """What came out is not a result."""


class Unsupported(Exception):
    """Asked for something that this version does not do."""


class Failed(Exception):
    """Any other reason, in words for the user."""


class Input:
    """A file of the user. `name` is untrusted text."""

    def __init__(self, file):
        self.slot, self.name, self.path = file.slot, file.original_name, file.path
        self.media_type, self.size_bytes, self.digest = (
            file.media_type,
            file.size_bytes,
            file.digest,
        )

    def bytes(self):
        flags = _files.DescriptorFlags.READ
        pieces, offset = [], 0
        with _directory("/in").open_at(
            _files.PathFlags(0), self.path, _files.OpenFlags(0), flags
        ) as file:
            while True:
                piece, ended = file.read(_PIECE_BYTES, offset)
                pieces.append(piece)
                offset += len(piece)
                if ended or not piece:
                    return b"".join(pieces)

    def text(self):
        """The file as UTF-8 text; refuses the request when it is something else."""
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{self.name} is not UTF-8 text (byte {error.start})"
            raise Refused([Violation(f"/inputs/{self.slot}", "not_text", message)]) from None


class Request:
    """What is to be run."""

    def __init__(self, request):
        self.task, self.seed = request.task, request.seed
        self.parameters = json.loads(request.parameters)
        self.inputs = [Input(file) for file in request.inputs]

    def input(self, slot):
        """The first file of a slot; None when it is empty."""
        return next(iter(self.inputs_of(slot)), None)

    def inputs_of(self, slot):
        return [file for file in self.inputs if file.slot == slot]


class Result:
    """What a task gives. `metrics`: (name, value, unit, "higher" | "lower" | "neither");
    `artifacts`: (name, media type, title) of files written with `write_out`; `views`: (kind,
    title, spec) and optionally names of artifacts; `notices`: (severity, code, message)."""

    def __init__(
        self, output, metrics=(), artifacts=(), views=(), notices=(), confidence=None
    ):
        self.output, self.confidence = output, confidence
        self.metrics, self.artifacts = metrics, artifacts
        self.views, self.notices = views, notices

    def _lower(self):
        better = {
            "higher": _types.Better.LARGER,
            "lower": _types.Better.SMALLER,
            "neither": _types.Better.NEITHER,
        }
        return _types.ItemResult(
            json.dumps(self.output),
            self.confidence,
            [
                _types.Metric(name, float(value), unit, better[direction])
                for name, value, unit, direction in self.metrics
            ],
            [
                _types.Artifact(name, f"/out/{name}", media_type, title)
                for name, media_type, title in self.artifacts
            ],
            [
                _types.View(view[0], view[1], json.dumps(view[2]), list(view[3:]))
                for view in self.views
            ],
            _notices(self.notices),
        )


class Task:
    """One task: set `definition`, and write `compute`."""

    definition = {}

    def validate(self, request):
        """The parameters as the run will use them, or a pair of them and notices. Raises
        `Refused` with all faults."""
        return request.parameters

    def compute(self, request):
        """A `Result`, or just its output."""
        raise NotImplementedError


class log:
    """Lines that the host keeps with the execution."""

    @staticmethod
    def debug(message):
        _log.log(_log.Level.DEBUG, str(message))

    @staticmethod
    def info(message):
        _log.log(_log.Level.INFO, str(message))

    @staticmethod
    def warn(message):
        _log.log(_log.Level.WARN, str(message))

    @staticmethod
    def error(message):
        _log.log(_log.Level.ERROR, str(message))


def progress(done, message=""):
    """Share of the work that is done, 0..=1, and a word about it."""
    _progress.report(float(done), message)


def write_out(name, content):
    """Writes a file of the result; name it in `artifacts` as well."""
    if isinstance(content, str):
        content = content.encode("utf-8")
    flags = _files.DescriptorFlags.WRITE
    create = _files.OpenFlags.CREATE | _files.OpenFlags.TRUNCATE
    with _directory("/out").open_at(_files.PathFlags(0), name, create, flags) as file:
        offset = 0
        while offset < len(content):
            offset += file.write(content[offset : offset + _PIECE_BYTES], offset)


def _directory(path):
    for descriptor, name in _preopens.get_directories():
        if name == path:
            return descriptor
    raise Failed(f"{path} is not there in this call")


def _notices(notices):
    return [
        _types.Notice(_types.Severity[severity.upper()], code, message)
        for severity, code, message in notices
    ]


def _violations(refused):
    return [
        _types.Violation(fault.pointer, fault.code, fault.message)
        for fault in refused.violations
    ]


def _contract_errors(call):
    """Turns this module's exceptions into the contract's errors, and tells the place of others."""
    try:
        return call()
    except Refused as refused:
        raise Err(_types.Error_InvalidInput(_violations(refused))) from None
    except OutputInvalid as error:
        raise Err(_types.Error_OutputInvalid(str(error))) from None
    except Unsupported as error:
        raise Err(_types.Error_Unsupported(str(error))) from None
    except Failed as error:
        raise Err(_types.Error_Other(str(error))) from None
    except Exception as error:
        _tell_traceback(error)
        raise


def _tell_traceback(error):
    """As Python does, without the source lines: there are no files to read them from."""
    out = _stderr.get_stderr()
    lines = ["Traceback (most recent call last):"]
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        # Where the sources lie in the component: the project, and this SDK.
        name = code.co_filename.removeprefix("/0/").replace("/1/", "vendor/bindery/", 1)
        lines.append(f'  File "{name}", line {at.tb_lineno}, in {code.co_name}')
        at = at.tb_next
    lines.append(f"{type(error).__name__}: {error}")
    said = ("\n".join(lines) + "\n").encode("utf-8", "replace")
    # What one call of this interface takes.
    for start in range(0, min(len(said), 1 << 16), 4096):
        out.blocking_write_and_flush(said[start : start + 4096])


def lower_definition(definition):
    cardinalities = {
        "one": _definition.Cardinality.ONE,
        "optional": _definition.Cardinality.OPTIONAL,
        "many": _definition.Cardinality.MANY,
    }
    resources = definition.get("resources", {})
    return _definition.TaskDefinition(
        definition["id"],
        definition["version"],
        definition["title"],
        definition.get("category", "Other"),
        definition.get("summary", ""),
        definition.get("docs", ""),
        json.dumps(definition["parameters"]),
        [
            _definition.InputSlot(
                slot["name"],
                slot["title"],
                slot.get("summary", ""),
                slot.get("accepts", ["*/*"]),
                cardinalities[slot.get("cardinality", "one")],
            )
            for slot in definition.get("inputs", [])
        ],
        json.dumps(definition.get("output", {})),
        [
            _definition.OutputSlot(slot["name"], slot["title"], slot["media_type"])
            for slot in definition.get("artifacts", [])
        ],
        [],
        _definition.ResourceHints(
            resources.get("cpu_cores", 1),
            resources.get("memory_bytes", 256 << 20),
            resources.get("disk_bytes", 64 << 20),
            resources.get("wall_ms", 60_000),
        ),
        _definition.Determinism[definition.get("determinism", "deterministic").upper()],
        1,
        [
            _definition.Example(
                example["title"],
                json.dumps(example.get("parameters", {})),
                list(example.get("inputs", {}).items()),
            )
            for example in definition.get("examples", [])
        ],
        list(definition.get("keywords", [])),
        [
            _definition.Citation(
                citation["text"], citation.get("doi", ""), citation.get("url", "")
            )
            for citation in definition.get("citations", [])
        ],
    )


def lower_validate(task, request):
    try:
        answer = task.validate(Request(request))
    except Refused as refused:
        raise Err(_violations(refused)) from None
    except Exception as error:
        _tell_traceback(error)
        raise
    parameters, notices = answer if isinstance(answer, tuple) else (answer, ())
    return _definition.Normalised(json.dumps(parameters), _notices(notices), None)


class SessionOf:
    """The session of a task without rows: `finish` calls `compute`."""

    task = None

    def __init__(self, request):
        self._request = request

    @classmethod
    def open(cls, request):
        return cls(request)

    def finish(self):
        def compute():
            result = self.task.compute(Request(self._request))
            result = result if isinstance(result, Result) else Result(result)
            return [_types.ItemOutcome(0, Ok(result._lower()))]

        return _contract_errors(compute)

    def push(self, batch):
        raise Err(_types.Error_Unsupported("this task takes no rows"))

    def flush(self):
        return []

    def save(self):
        raise Err(_types.Error_Unsupported("this task cannot be saved"))

    @classmethod
    def restore(cls, request, state):
        raise Err(_types.Error_Unsupported("this task cannot be restored"))

    def partial(self):
        raise Err(_types.Error_Unsupported("this task has no partial results"))


NO_ROWS = _compute.SessionProfile(_compute.Traits(0), [])
