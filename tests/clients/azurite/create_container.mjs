// Creates a container in Azurite. Usage: create_container.mjs ENDPOINT CONTAINER
import { createHmac } from "node:crypto";

// The account and key that Azurite documents for everybody.
const account = "devstoreaccount1";
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const [endpoint, container] = process.argv.slice(2);
const date = new Date().toUTCString();
const version = "2023-11-03";
const headers = `x-ms-date:${date}\nx-ms-version:${version}\n`;
const resource = `/${account}/${account}/${container}\nrestype:container`;
const toSign = `PUT${"\n".repeat(12)}${headers}${resource}`;
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(toSign, "utf8").digest("base64");
const answer = await fetch(`${endpoint}/${account}/${container}?restype=container`, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": version, Authorization: `SharedKey ${account}:${signature}` },
});
if (answer.status !== 201) {
  console.error(answer.status, await answer.text());
  process.exit(1);
}
