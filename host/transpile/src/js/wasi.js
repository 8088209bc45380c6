// What a component may see of the world while it checks parameters: nothing. No files, no
// environment, a clock that stands at a second of its own, chance that comes from the seed of the
// request, and standard error, which is kept for the message of a plugin that breaks.

const STDERR_BYTES_MAX = 16 * 1024;
/** Where the host's clock for guests stands too. */
const CLOCK_SECONDS = META.clock_seconds;

class Exit extends Error {}

/** 64-bit xorshift*: the same numbers for the same seed. */
function chance(seed) {
  let state = BigInt.asUintN(64, seed) || 0x9e3779b97f4a7c15n;
  return () => {
    state ^= state >> 12n;
    state = BigInt.asUintN(64, state ^ (state << 25n));
    state ^= state >> 27n;
    return BigInt.asUintN(64, state * 0x2545f4914f6cdd1dn);
  };
}

function wasi() {
  let seed = 0n;
  let next = chance(seed);
  let stderr = [];
  let stderrBytes = 0;
  const randomBytes = (count) => {
    if (count > 65536n) throw new Exit("more random bytes than a call may have");
    const bytes = new Uint8Array(Number(count));
    for (let index = 0; index < bytes.length; index++) bytes[index] = Number(next() & 0xffn);
    return bytes;
  };

  class IoError {
    toDebugString() {
      return "closed";
    }
  }
  class Pollable {
    ready() {
      return true;
    }
    block() {}
  }
  class InputStream {
    read() {
      throw { tag: "closed" };
    }
    blockingRead() {
      throw { tag: "closed" };
    }
    skip() {
      throw { tag: "closed" };
    }
    blockingSkip() {
      throw { tag: "closed" };
    }
    subscribe() {
      return new Pollable();
    }
  }
  class OutputStream {
    constructor(kept) {
      this.kept = kept;
    }
    checkWrite() {
      return 65536n;
    }
    write(bytes) {
      if (!this.kept || stderrBytes >= STDERR_BYTES_MAX) return;
      stderrBytes += bytes.length;
      // A copy: what is shown here is the guest's memory.
      stderr.push(Uint8Array.from(bytes));
    }
    blockingWriteAndFlush(bytes) {
      this.write(bytes);
    }
    flush() {}
    blockingFlush() {}
    subscribe() {
      return new Pollable();
    }
    writeZeroes() {}
    blockingWriteZeroesAndFlush() {}
    splice() {
      throw { tag: "closed" };
    }
    blockingSplice() {
      throw { tag: "closed" };
    }
  }
  class TerminalInput {}
  class TerminalOutput {}
  class Descriptor {}
  class DirectoryEntryStream {}
  const notPermitted = () => {
    throw "not-permitted";
  };
  for (const name of [
    "readViaStream", "writeViaStream", "appendViaStream", "advise", "syncData", "getFlags",
    "getType", "setSize", "setTimes", "read", "write", "readDirectory", "sync",
    "createDirectoryAt", "stat", "statAt", "setTimesAt", "linkAt", "openAt", "readlinkAt",
    "removeDirectoryAt", "renameAt", "symlinkAt", "unlinkFileAt", "isSameObject", "metadataHash",
    "metadataHashAt",
  ]) {
    Descriptor.prototype[name] = notPermitted;
  }
  DirectoryEntryStream.prototype.readDirectoryEntry = notPermitted;

  const stop = () => {
    throw new Exit("the plugin left by `exit`");
  };
  class Asset {
    sizeBytes() {
      return 0n;
    }
    read() {
      return new Uint8Array();
    }
  }
  const imports = {
    "wasi:cli/environment": {
      getEnvironment: () => [],
      getArguments: () => [],
      initialCwd: () => undefined,
    },
    "wasi:cli/exit": { exit: stop, exitWithCode: stop },
    "wasi:cli/stderr": { getStderr: () => new OutputStream(true) },
    "wasi:cli/stdin": { getStdin: () => new InputStream() },
    "wasi:cli/stdout": { getStdout: () => new OutputStream(false) },
    "wasi:cli/terminal-input": { TerminalInput },
    "wasi:cli/terminal-output": { TerminalOutput },
    "wasi:cli/terminal-stderr": { getTerminalStderr: () => undefined },
    "wasi:cli/terminal-stdin": { getTerminalStdin: () => undefined },
    "wasi:cli/terminal-stdout": { getTerminalStdout: () => undefined },
    "wasi:clocks/monotonic-clock": {
      now: () => 0n,
      resolution: () => 1_000_000n,
      subscribeDuration: () => new Pollable(),
      subscribeInstant: () => new Pollable(),
    },
    "wasi:clocks/wall-clock": {
      now: () => ({ seconds: BigInt(CLOCK_SECONDS), nanoseconds: 0 }),
      resolution: () => ({ seconds: 1n, nanoseconds: 0 }),
    },
    "wasi:filesystem/preopens": { getDirectories: () => [] },
    "wasi:filesystem/types": {
      Descriptor,
      DirectoryEntryStream,
      filesystemErrorCode: () => undefined,
    },
    "wasi:io/error": { Error: IoError },
    "wasi:io/poll": { Pollable, poll: (list) => Uint32Array.from(list.keys()) },
    "wasi:io/streams": { InputStream, OutputStream },
    "wasi:random/random": { getRandomBytes: randomBytes, getRandomU64: () => next() },
    "wasi:random/insecure": { getInsecureRandomBytes: randomBytes, getInsecureRandomU64: () => next() },
    "wasi:random/insecure-seed": { insecureSeed: () => [seed, 0n] },
    "bindery:task/log": { log: () => {} },
    "bindery:task/progress": { report: () => {} },
    "bindery:task/assets": { Asset, open: () => undefined },
    "bindery:task/types": {},
    "bindery:task/definition": {},
    "bindery:task/engine-task": {},
    "bindery:task/compute-task": {},
    "bindery:task/format": {},
  };
  const words = () => {
    const decoder = new TextDecoder();
    return stderr.map((bytes) => decoder.decode(bytes, { stream: true })).join("");
  };
  const begin = (ownSeed) => {
    seed = ownSeed;
    next = chance(seed);
    stderr = [];
    stderrBytes = 0;
  };
  return { imports, words, begin };
}
