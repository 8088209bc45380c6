// The task `json.table`: a CSV table of nested JSON records.

import { Refused, progress, task, writeOut } from "./vendor/bindery/bindery.js";

/** Rows of the view; the file has all of them. */
const VIEW_ROWS_MAX = 200;
/** Levels of objects within objects; deeper ones stay JSON. */
const DEPTH_MAX = 8;
const COLUMNS_MAX = 1000;

export const { definition, computeTask } = task({
  definition: {
    id: "json.table",
    version: "0.1.0",
    title: "Table of JSON records",
    category: "Tables",
    summary: "Makes a CSV table of nested JSON records",
    docs:
      "Takes a JSON list of objects, JSON Lines, or a document with a list somewhere inside. " +
      "Members of nested objects become columns `a.b`; lists stay JSON. Columns stand in the " +
      "order in which they first appear.",
    parameters: {
      type: "object",
      properties: {
        records: {
          type: "string",
          title: "Records",
          description: "JSON pointer of the list, such as `/data/items`; the whole file when empty",
          pattern: "^(/.*)?$",
          default: "",
        },
        joint: {
          type: "string",
          title: "Joint",
          description: "What stands between the names of a nested column",
          minLength: 1,
          maxLength: 4,
          default: ".",
        },
      },
      additionalProperties: false,
    },
    inputs: [{ name: "json", title: "JSON", summary: "JSON or JSON Lines" }],
    output: {
      type: "object",
      properties: {
        rows: { type: "integer" },
        columns: { type: "array", items: { type: "object" } },
      },
      required: ["rows", "columns"],
    },
    artifacts: [{ name: "table.csv", mediaType: "text/csv", title: "Table" }],
    examples: [
      { title: "Stations", parameters: { records: "/stations" }, inputs: { json: "stations.json" } },
    ],
  },

  validate(request) {
    if (request.input("json")) read(request);
    return request.parameters;
  },

  compute(request) {
    const records = read(request);
    const columns = new Map();
    const rows = records.map((record, index) => {
      if (index % 1000 === 0) progress((index / records.length) * 0.9, "Reading records");
      const row = new Map();
      flatten(record, "", request.parameters.joint, 0, row);
      for (const [name, value] of row) note(columns, name, value);
      return row;
    });
    if (columns.size > COLUMNS_MAX) {
      fault("/inputs/json", "too_many_columns", `${columns.size} columns, at most ${COLUMNS_MAX}`);
    }
    const names = [...columns.keys()];
    const lines = [names.map(quote).join(",")];
    for (const row of rows) lines.push(names.map((name) => quote(row.get(name))).join(","));
    writeOut("table.csv", lines.join("\n") + "\n");
    return {
      output: {
        rows: rows.length,
        columns: names.map((name) => ({ name, ...columns.get(name), kinds: [...columns.get(name).kinds].sort() })),
      },
      metrics: [{ name: "rows", value: rows.length }],
      artifacts: [{ name: "table.csv", mediaType: "text/csv", title: "Table" }],
      views: [
        {
          kind: "table",
          title: "First rows",
          spec: {
            columns: names.map((name) => ({ key: name, title: name, type: "text" })),
            rows: rows.slice(0, VIEW_ROWS_MAX).map((row) => names.map((name) => cell(row.get(name)))),
          },
        },
      ],
    };
  },
});

function fault(pointer, code, message) {
  throw new Refused([{ pointer, code, message }]);
}

/** The records of the file, all of them objects. */
function read(request) {
  const text = request.input("json").text().replace(/^\uFEFF/, "");
  const found = at(parse(text), request.parameters.records);
  const records = Array.isArray(found) ? found : [found];
  const wrong = records.findIndex((record) => record === null || typeof record !== "object" || Array.isArray(record));
  if (wrong >= 0) fault("/inputs/json", "not_a_record", `record ${wrong + 1} is not an object`);
  return records;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (whole) {
    // Several documents, one on each line; the first line tells which of the two was meant.
    const lines = text.split("\n");
    const filled = lines.filter((line) => line.trim() !== "").length;
    return lines.flatMap((line, index) => {
      if (line.trim() === "") return [];
      try {
        return [JSON.parse(line)];
      } catch (one) {
        const message = index === 0 || filled === 1 ? whole.message : `line ${index + 1}: ${one.message}`;
        return fault("/inputs/json", "not_json", message);
      }
    });
  }
}

/** What a JSON pointer names. */
function at(document, pointer) {
  let found = document;
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (found === null || typeof found !== "object" || !Object.hasOwn(found, name)) {
      fault("/parameters/records", "not_there", `the file has nothing at ${pointer}`);
    }
    found = found[name];
  }
  return found;
}

function flatten(value, name, joint, depth, row) {
  const nested = value !== null && typeof value === "object" && !Array.isArray(value);
  if (!nested || depth >= DEPTH_MAX || (name && Object.keys(value).length === 0)) {
    row.set(name, value);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    flatten(member, name ? name + joint + key : key, joint, depth + 1, row);
  }
}

function note(columns, name, value) {
  if (!columns.has(name)) columns.set(name, { filled: 0, kinds: new Set() });
  if (value === null) return;
  const column = columns.get(name);
  column.filled += 1;
  column.kinds.add(Array.isArray(value) ? "list" : typeof value);
}

function cell(value) {
  if (value === undefined || value === null) return null;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** RFC 4180. */
function quote(value) {
  const text = cell(value) ?? "";
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
