// Write Bindery tasks in JavaScript.
//
//   import { task, Refused } from "./vendor/bindery/bindery.js";
//
//   export const { definition, computeTask } = task({
//     definition: { id: "text.shout", version: "1.0.0", title: "Shout", … },
//     validate(request) { return request.parameters; },       // or throw new Refused([…])
//     compute(request) { return { output: { text: request.parameters.text.toUpperCase() } }; },
//   });
//
// A task runs in a sandbox: no network, no clock, no timers. Files come from
// `request.input("slot")`, and `writeOut("name", content)` leaves one. `Math.random` always gives the
// same numbers; use `request.seed`.
//
// An error that is none of this module's is a broken plugin: its stack is shown with file and line.

import logInterface from "bindery:task/log@0.2.0";
import progressInterface from "bindery:task/progress@0.2.0";
import preopens from "wasi:filesystem/preopens@0.2.12";
import stderr from "wasi:cli/stderr@0.2.12";

/** One transfer between guest and host. */
const PIECE_BYTES = 1 << 20;

/** The request cannot be run as it is; holds all faults: `{ pointer, code, message }`. */
export class Refused extends Error {
  constructor(violations) {
    super(violations.map((fault) => fault.message).join("; "));
    this.violations = violations;
  }
}

/** What came out is not a result. */
export class OutputInvalid extends Error {}

/** Asked for something that this version does not do. */
export class Unsupported extends Error {}

/** Any other reason, in words for the user. */
export class Failed extends Error {}

/** Lines that the host keeps with the execution. */
export const log = Object.fromEntries(
  ["debug", "info", "warn", "error"].map((level) => [
    level,
    (message) => logInterface.log(level, String(message)),
  ]),
);

/** Share of the work that is done, 0..=1, and a word about it. */
export function progress(done, message = "") {
  progressInterface.report(done, message);
}

/** A file of the user. `name` is untrusted text. */
class Input {
  constructor(file) {
    this.slot = file.slot;
    this.name = file.originalName;
    this.path = file.path;
    this.mediaType = file.mediaType;
    this.sizeBytes = file.sizeBytes;
    this.digest = file.digest;
  }

  bytes() {
    const file = directory("/in").openAt({}, this.path, {}, { read: true });
    const pieces = [];
    let size = 0;
    for (;;) {
      const [piece, ended] = file.read(PIECE_BYTES, size);
      pieces.push(piece);
      size += piece.length;
      if (ended || piece.length === 0) break;
    }
    const whole = new Uint8Array(size);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  /** The file as UTF-8 text; refuses the request when it is something else. */
  text() {
    const bytes = this.bytes();
    const { text, bad } = decode(bytes);
    if (bad !== null) {
      const message = `${this.name} is not UTF-8 text (byte ${bad})`;
      throw new Refused([{ pointer: `/inputs/${this.slot}`, code: "not_text", message }]);
    }
    return text;
  }
}

/** What is to be run. */
class Request {
  constructor(request) {
    this.task = request.task;
    this.seed = request.seed;
    this.parameters = JSON.parse(request.parameters);
    this.inputs = request.inputs.map((file) => new Input(file));
  }

  /** The first file of a slot; null when it is empty. */
  input(slot) {
    return this.inputsOf(slot)[0] ?? null;
  }

  inputsOf(slot) {
    return this.inputs.filter((file) => file.slot === slot);
  }
}

/** Writes a file of the result; name it in `artifacts` as well. */
export function writeOut(name, content) {
  const bytes = typeof content === "string" ? encode(content) : content;
  const open = { create: true, truncate: true };
  const file = directory("/out").openAt({}, name, open, { write: true });
  let at = 0;
  while (at < bytes.length) {
    at += file.write(bytes.subarray(at, at + PIECE_BYTES), at);
  }
}

/**
 * The exports of a component with one task. `compute` gives `{ output }` and, where it likes,
 * `metrics: [{ name, value, unit, better }]` (higher, lower or neither), `artifacts: [{ name, mediaType, title }]` of
 * files written with `writeOut`, `views: [{ kind, title, spec, artifacts }]`, `notices` and
 * `confidence`.
 */
export function task({ definition, validate, compute }) {
  const check = validate ?? ((request) => request.parameters);
  class Session {
    constructor(request) {
      this.request = request;
    }

    static open(request) {
      return new Session(request);
    }

    finish() {
      const result = contractErrors(() => compute(new Request(this.request)));
      return [{ index: 0, verdict: { tag: "ok", val: lowerResult(result) } }];
    }

    push() {
      throw { tag: "unsupported", val: "this task takes no rows" };
    }

    flush() {
      return [];
    }

    save() {
      throw { tag: "unsupported", val: "this task cannot be saved" };
    }

    static restore() {
      throw { tag: "unsupported", val: "this task cannot be restored" };
    }

    partial() {
      throw { tag: "unsupported", val: "this task has no partial results" };
    }
  }

  return {
    definition: {
      describe: () => [lowerDefinition(definition)],
      validate(request) {
        let answer;
        try {
          answer = check(new Request(request));
        } catch (error) {
          if (error instanceof Refused) throw error.violations;
          tellStack(error);
          throw error;
        }
        const { parameters, notices } = Array.isArray(answer)
          ? { parameters: answer[0], notices: answer[1] }
          : { parameters: answer, notices: [] };
        return { parameters: JSON.stringify(parameters), notices, estimate: null };
      },
    },
    computeTask: {
      Session,
      profile: () => ({
        traits: { resumable: false, mergeable: false, unordered: false },
        columns: [],
      }),
      merge() {
        throw { tag: "unsupported", val: "this task does not merge parts" };
      },
    },
  };
}

function lowerDefinition(given) {
  const resources = given.resources ?? {};
  return {
    id: given.id,
    version: given.version,
    title: given.title,
    category: given.category ?? "Other",
    summary: given.summary ?? "",
    docs: given.docs ?? "",
    parameters: JSON.stringify(given.parameters),
    inputs: (given.inputs ?? []).map((slot) => ({
      name: slot.name,
      title: slot.title,
      summary: slot.summary ?? "",
      accepts: slot.accepts ?? ["*/*"],
      cardinality: slot.cardinality ?? "one",
    })),
    output: JSON.stringify(given.output ?? {}),
    artifacts: given.artifacts ?? [],
    engines: [],
    resources: {
      cpuCores: resources.cpuCores ?? 1,
      memoryBytes: resources.memoryBytes ?? 128 << 20,
      diskBytes: resources.diskBytes ?? 64 << 20,
      wallMs: resources.wallMs ?? 60_000,
    },
    determinism: given.determinism ?? "deterministic",
    maxItemsPerRun: 1,
    examples: (given.examples ?? []).map((example) => ({
      title: example.title,
      parameters: JSON.stringify(example.parameters ?? {}),
      inputs: Object.entries(example.inputs ?? {}),
    })),
    keywords: given.keywords ?? [],
    citations: (given.citations ?? []).map((citation) => ({ doi: "", url: "", ...citation })),
  };
}

const BETTER = { higher: "larger", lower: "smaller", neither: "neither" };

function lowerResult(result) {
  return {
    output: JSON.stringify(result.output),
    confidence: result.confidence ?? null,
    metrics: (result.metrics ?? []).map((metric) => ({
      unit: "",
      ...metric,
      better: BETTER[metric.better ?? "neither"],
    })),
    artifacts: (result.artifacts ?? []).map((artifact) => ({
      path: `/out/${artifact.name}`,
      ...artifact,
    })),
    views: (result.views ?? []).map((view) => ({
      kind: view.kind,
      title: view.title,
      spec: JSON.stringify(view.spec),
      artifacts: view.artifacts ?? [],
    })),
    notices: result.notices ?? [],
  };
}

/** Turns this module's errors into the contract's, and tells the place of others. */
function contractErrors(call) {
  try {
    return call();
  } catch (error) {
    if (error instanceof Refused) throw { tag: "invalid-input", val: error.violations };
    if (error instanceof OutputInvalid) throw { tag: "output-invalid", val: error.message };
    if (error instanceof Unsupported) throw { tag: "unsupported", val: error.message };
    if (error instanceof Failed) throw { tag: "other", val: error.message };
    tellStack(error);
    throw error;
  }
}

function tellStack(error) {
  const said = error instanceof Error ? `${error}\n${error.stack}` : `thrown: ${error}`;
  // Paths in the component begin at the project.
  const bytes = encode(said.replace(/(at |\()\/(?=\S+:\d)/g, "$1")).subarray(0, 1 << 16);
  const out = stderr.getStderr();
  // What one call of this interface takes.
  for (let at = 0; at < bytes.length; at += 4096) {
    out.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
  }
}

function directory(path) {
  const found = preopens.getDirectories().find(([, name]) => name === path);
  if (!found) throw new Failed(`${path} is not there in this call`);
  return found[0];
}

function encode(text) {
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) {
      bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    } else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63));
      bytes.push(0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return new Uint8Array(bytes);
}

/** The text, and where it stops being UTF-8. QuickJS has no TextDecoder. */
function decode(bytes) {
  const parts = [];
  let units = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at];
    const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length === 0 || at + length > bytes.length) return { text: "", bad: at };
    let code = length === 1 ? first : first & (0xff >> (length + 1));
    for (let next = at + 1; next < at + length; next += 1) {
      if ((bytes[next] & 0xc0) !== 0x80) return { text: "", bad: at };
      code = (code << 6) | (bytes[next] & 63);
    }
    const tooLong = (length === 3 && code < 0x800) || (length === 4 && code < 0x10000);
    if (tooLong || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      return { text: "", bad: at };
    }
    if (code < 0x10000) units.push(code);
    else units.push(0xd800 + ((code - 0x10000) >> 10), 0xdc00 + ((code - 0x10000) & 0x3ff));
    at += length;
    if (units.length > 8192) {
      parts.push(String.fromCharCode(...units));
      units = [];
    }
  }
  parts.push(String.fromCharCode(...units));
  return { text: parts.join(""), bad: null };
}
