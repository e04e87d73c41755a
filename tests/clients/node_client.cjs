// What a partner's script does with ssh2-sftp-client: PORT USER KEY HOST-KEY put|stage|get|ls FROM TO.
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const Client = require("ssh2-sftp-client");

const [port, username, key, hostKey, action, from, to] = process.argv.slice(2);
const fingerprint = (raw) => "SHA256:" + createHash("sha256").update(raw).digest("base64").replace(/=+$/, "");

async function main() {
  const sftp = new Client();
  await sftp.connect({
    host: "127.0.0.1",
    port: Number(port),
    username,
    privateKey: readFileSync(key),
    hostVerifier: (raw) => fingerprint(raw) === hostKey,
  });
  try {
    if (action === "put") await sftp.fastPut(from, to);
    else if (action === "stage") {
      await sftp.put(from, to + ".tmp");
      await sftp.rename(to + ".tmp", to);
    } else if (action === "get") await sftp.fastGet(from, to);
    else for (const { name } of await sftp.list(from)) console.log(name);
  } finally {
    await sftp.end();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
