// One call, one answer: what `POST …/validate` of the host answers for the same parameters.

const compiled = new Map(
  await Promise.all(
    Object.entries(MODULES).map(async ([name, text]) => [
      name,
      await WebAssembly.compile(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))),
    ]),
  ),
);

/** The task, its version, the digest of its plugin. */
export const task = Object.freeze({ id: META.task, version: META.version, plugin: META.plugin });

/** The plugin broke on a request: the host has the last word, and says `trap`. */
export class PluginBroke extends Error {
  constructor(message, stderr) {
    super(message);
    this.name = "PluginBroke";
    this.code = "trap";
    this.stderr = stderr;
  }
}

function ask(instance, parameters, seed) {
  instance.begin(seed);
  return instance.definition.validate({
    task: META.task,
    parameters,
    inputs: [],
    items: [{ index: 0n, label: "", parameters: undefined, inputs: [] }],
    seed,
  });
}

function newInstance() {
  const memories = new Set();
  const { imports, words, begin } = wasi();
  const exported = instantiateComponent(
    (name) => compiled.get(name),
    imports,
    (module, coreImports) => {
      const instance = new WebAssembly.Instance(module, coreImports);
      for (const value of Object.values(instance.exports)) {
        if (value instanceof WebAssembly.Memory) memories.add(value);
      }
      return instance;
    },
  );
  return { definition: exported.definition, memories: [...memories], words, begin, kept: null };
}

/**
 * An instance as it was after one call with no parameters. The host takes a new one for every
 * call, which here would cost milliseconds; memory put back as it was costs microseconds, and as
 * well keeps what one call leaves behind from the next. The one call before makes the instance
 * get its memory: one that needs more later is thrown away.
 */
let spare = null;

function takeInstance() {
  const instance = spare;
  spare = null;
  if (instance) return instance;
  const fresh = newInstance();
  try {
    ask(fresh, "{}", 0n);
  } catch (thrown) {
    // A refusal is as good an answer as another; one that breaks on nothing stays unused.
    if (!Array.isArray(thrown)) return newInstance();
  }
  fresh.kept = fresh.memories.map((memory) => new Uint8Array(memory.buffer.slice(0)));
  return fresh;
}

function giveBack(instance) {
  const { kept, memories } = instance;
  if (!kept || memories.some((memory, index) => memory.buffer.byteLength !== kept[index].length)) {
    return;
  }
  memories.forEach((memory, index) => new Uint8Array(memory.buffer).set(kept[index]));
  spare = instance;
}

/** A sentence; longer ones are cut where the host cuts them. */
function clipped(text) {
  if (text.length * 3 <= META.text_bytes_max) return text;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= META.text_bytes_max) return text;
  let end = META.text_bytes_max;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return new TextDecoder().decode(bytes.subarray(0, end));
}

const violation = ({ pointer, code, message }) => ({
  pointer: clipped(pointer),
  code: clipped(code),
  message: clipped(message),
});

/** 53 bits, as the host draws them. */
function drawSeed() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (BigInt(high) << 21n) | BigInt(low >>> 11);
}

function askTask(parameters, texts, seed) {
  let instance;
  try {
    instance = takeInstance();
    const answer = ask(instance, write(parameters, texts), seed);
    giveBack(instance);
    const normalised = JSON.parse(answer.parameters);
    if (!isObject(normalised)) throw new Error("the normalised parameters are not an object");
    const notices = answer.notices.map(({ severity, code, message }) => ({
      severity,
      code: clipped(code),
      message: clipped(message),
    }));
    const { estimate } = answer;
    const known = estimate && {
      wall_ms: Number(estimate.wallMs),
      cpu_ms: Number(estimate.cpuMs),
      memory_bytes: Number(estimate.memoryBytes),
    };
    return { parameters: normalised, notices, ...(known ? { estimate: known } : {}) };
  } catch (thrown) {
    if (Array.isArray(thrown)) {
      giveBack(instance);
      return { violations: thrown.slice(0, META.violations_max).map(violation) };
    }
    return { broke: new PluginBroke(String(thrown?.message ?? thrown), instance?.words() ?? "") };
  }
}

/**
 * Checks parameters: `{ parameters, notices, estimate? }` as the run would use them, or `{ violations }`.
 *
 * Files are not looked at. Where the task has input slots, the answer says so in
 * `left_to_server`, and the host's verdict on the whole request may differ.
 *
 * @param {{ parameters?: object }} [request] as it would be sent
 */
export function validate(request = {}) {
  const left = META.inputs ? { left_to_server: ["inputs"] } : {};
  // What is sent is JSON: members that are undefined, for one, never arrive.
  const given = JSON.parse(JSON.stringify(request?.parameters ?? {}) ?? "{}");
  const seed = drawSeed();
  if (!isObject(given)) {
    const message = "the parameters are not a JSON object";
    return { violations: [{ pointer: "/parameters", code: "wrong_type", message }], ...left };
  }
  const texts = new Map();
  fillDefaults(DEFAULTS, given, texts);
  let faults = schemaFaults(CHECKS, given, META.violations_max);
  const answer = askTask(given, texts, seed);
  if (answer.broke) {
    // The schema's faults are the user's; a guest that breaks on them as well must not hide them.
    if (faults.length === 0) throw answer.broke;
    return { violations: faults, ...left };
  }
  if (answer.violations) {
    const found = answer.violations;
    if (found.length === 0 && faults.length === 0) {
      throw new PluginBroke("refused without a violation", "");
    }
    // "None of the variants fits" says less than what the task found inside.
    faults = faults.filter(
      (fault) =>
        fault.code !== "no_variant" ||
        !found.some((finer) => finer.pointer.startsWith(fault.pointer)),
    );
    const said = new Set(faults.map((fault) => fault.pointer));
    faults.push(...found.filter((fault) => !said.has(fault.pointer)));
    return { violations: faults.slice(0, META.violations_max), ...left };
  }
  if (faults.length > 0) return { violations: faults, ...left };
  return { ...answer, ...left };
}
