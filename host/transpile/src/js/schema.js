// Parameters against the checks that the host made of the task's schema: defaults, then faults.
// Words and codes come from the host, so that both say the same.

const hasOwn = (object, name) => Object.prototype.hasOwnProperty.call(object, name);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Assignment that cannot reach a prototype, whatever the name. */
function put(object, name, value) {
  Object.defineProperty(object, name, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

/**
 * Fills absent members in. `texts` keeps how the host writes each default (`4.0`, where a number
 * of JavaScript is `4`), so that the task reads the same text from both.
 */
function fillDefaults(tree, value, texts) {
  if (!isObject(value)) return;
  for (const [name, entry] of tree) {
    if (hasOwn(value, name)) {
      if (entry.members) fillDefaults(entry.members, value[name], texts);
      if (entry.variants) fillDefaults(variantMeant(entry.variants, value[name]), value[name], texts);
    } else if (entry.text !== undefined) {
      put(value, name, JSON.parse(entry.text));
      if (!texts.has(value)) texts.set(value, new Map());
      texts.get(value).set(name, entry.text);
    }
  }
}

/** The members of the only variant of an object that has all those which are there. */
function variantMeant(variants, value) {
  if (!isObject(value)) return [];
  const fits = (members) =>
    Object.keys(value).every((name) => {
      const entry = members.find(([known]) => known === name)?.[1];
      return entry && (!entry.only || entry.only.includes(value[name]));
    });
  const fitting = variants.filter((members) => members !== null && fits(members));
  return fitting.length === 1 ? fitting[0] : [];
}

/** JSON as the host writes it. */
function write(value, texts) {
  if (Array.isArray(value)) return `[${value.map((item) => write(item, texts)).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const own = texts.get(value);
  const members = Object.keys(value).map(
    (name) => `${JSON.stringify(name)}:${own?.get(name) ?? write(value[name], texts)}`,
  );
  return `{${members.join(",")}}`;
}

function isSame(one, other) {
  if (one === other) return true;
  if (Array.isArray(one)) {
    return (
      Array.isArray(other) &&
      one.length === other.length &&
      one.every((item, index) => isSame(item, other[index]))
    );
  }
  if (!isObject(one) || !isObject(other)) return false;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => hasOwn(other, name) && isSame(one[name], other[name]))
  );
}

function isOfType(value, type) {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** A number as digits and a power of ten: exactly what was written. */
function decimal(number) {
  const [, sign, whole, part = "", power = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(String(number));
  return { digits: BigInt(sign + whole + part), power: Number(power) - part.length };
}

function isMultiple(number, step) {
  if (number === 0) return true;
  if (Math.abs(number) < step) return false;
  const [one, other] = [decimal(number), decimal(step)];
  const power = Math.min(one.power, other.power);
  const scaled = ({ digits, power: own }) => digits * 10n ** BigInt(own - power);
  return scaled(one) % scaled(other) === 0n;
}

const escapePointer = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");
const length = (text) => [...text].length;

const patterns = new Map();
function matches(pattern, text) {
  let compiled = patterns.get(pattern);
  if (!compiled) patterns.set(pattern, (compiled = new RegExp(pattern, "u")));
  return compiled.test(text);
}

/** Faults of a value by one node of the checks. */
function check(nodes, node, value, at, faults) {
  const fault = (pointer, code, message) =>
    faults.push({ pointer: `/parameters${pointer}`, code, message });
  const here = (code, message) => fault(at, code, message);
  const inner = (other, member, pointer) => check(nodes, other, member, pointer, faults);
  const fits = (other) => {
    const found = [];
    check(nodes, other, value, at, found);
    return found.length === 0;
  };
  const number = typeof value === "number";
  const text = typeof value === "string";
  const list = Array.isArray(value);
  const object = isObject(value);
  for (const op of nodes[node]) {
    switch (op.k) {
      case "type":
        if (!op.v.some((type) => isOfType(value, type))) here("wrong_type", op.m);
        break;
      case "enum":
        if (!op.v.some((option) => isSame(option, value))) here("not_allowed", op.m);
        break;
      case "minimum":
        if (number && value < op.v) here("out_of_range", op.m);
        break;
      case "maximum":
        if (number && value > op.v) here("out_of_range", op.m);
        break;
      case "exclusiveMinimum":
        if (number && value <= op.v) here("out_of_range", op.m);
        break;
      case "exclusiveMaximum":
        if (number && value >= op.v) here("out_of_range", op.m);
        break;
      case "multipleOf":
        if (number && !isMultiple(value, op.v)) here("out_of_range", op.m);
        break;
      case "minLength":
        if (text && length(value) < op.v) here("wrong_length", op.m);
        break;
      case "maxLength":
        if (text && length(value) > op.v) here("wrong_length", op.m);
        break;
      case "minItems":
        if (list && value.length < op.v) here("wrong_length", op.m);
        break;
      case "maxItems":
        if (list && value.length > op.v) here("wrong_length", op.m);
        break;
      case "minProperties":
        if (object && Object.keys(value).length < op.v) here("wrong_length", op.m);
        break;
      case "maxProperties":
        if (object && Object.keys(value).length > op.v) here("wrong_length", op.m);
        break;
      case "pattern":
        if (text && !matches(op.v, value)) here("invalid", op.m);
        break;
      case "uniqueItems":
        if (
          list &&
          value.some((item, index) => value.slice(0, index).some((other) => isSame(item, other)))
        ) {
          here("invalid", op.m);
        }
        break;
      case "prefixItems":
        if (list) {
          op.s.forEach((other, index) => {
            if (index < value.length) inner(other, value[index], `${at}/${index}`);
          });
        }
        break;
      case "items":
        if (list) {
          for (let index = op.from; index < value.length; index++) {
            inner(op.s, value[index], `${at}/${index}`);
          }
        }
        break;
      case "properties":
        if (object) {
          for (const [name, other] of op.s) {
            if (hasOwn(value, name)) inner(other, value[name], `${at}/${escapePointer(name)}`);
          }
        }
        break;
      case "patternProperties":
        if (object) {
          for (const [pattern, other] of op.s) {
            for (const name of Object.keys(value)) {
              if (matches(pattern, name)) inner(other, value[name], `${at}/${escapePointer(name)}`);
            }
          }
        }
        break;
      case "additionalProperties":
        if (object) {
          for (const name of Object.keys(value)) {
            if (op.known.includes(name) || op.patterns.some((pattern) => matches(pattern, name))) {
              continue;
            }
            const pointer = `${at}/${escapePointer(name)}`;
            if (op.s === null) fault(pointer, "unknown_parameter", op.m.join(name));
            else inner(op.s, value[name], pointer);
          }
        }
        break;
      case "required":
        if (object) {
          for (const [name, message] of op.v) {
            if (!hasOwn(value, name)) fault(`${at}/${escapePointer(name)}`, "required", message);
          }
        }
        break;
      case "dependentRequired":
        if (object) {
          for (const [trigger, needed] of op.v) {
            if (!hasOwn(value, trigger)) continue;
            for (const [name, message] of needed) {
              if (!hasOwn(value, name)) fault(`${at}/${escapePointer(name)}`, "required", message);
            }
          }
        }
        break;
      case "allOf":
        for (const other of op.s) inner(other, value, at);
        break;
      case "anyOf":
        if (!op.s.some(fits)) here("no_variant", op.m);
        break;
      case "oneOf": {
        const count = op.s.filter(fits).length;
        if (count === 0) here("no_variant", op.m);
        else if (count > 1) here("no_variant", op.several);
        break;
      }
      case "not":
        if (fits(op.s)) here("invalid", op.m);
        break;
      case "if": {
        const then = fits(op.s) ? op.then : op.else;
        if (then !== null) inner(then, value, at);
        break;
      }
      case "never":
        here("invalid", op.m);
        break;
      default:
        throw new Error(`unknown check ${op.k}`);
    }
  }
}

/** By code points, as the host compares. */
function compare(one, other) {
  const [left, right] = [[...one], [...other]];
  for (let index = 0; index < left.length && index < right.length; index++) {
    const difference = left[index].codePointAt(0) - right[index].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function schemaFaults(nodes, parameters, max) {
  const faults = [];
  check(nodes, 0, parameters, "", faults);
  faults.sort(
    (one, other) =>
      compare(one.pointer, other.pointer) ||
      compare(one.code, other.code) ||
      compare(one.message, other.message),
  );
  // One word for each place, as on the host.
  const distinct = faults.filter(
    (fault, index) => index === 0 || fault.pointer !== faults[index - 1].pointer,
  );
  return distinct.slice(0, max);
}
