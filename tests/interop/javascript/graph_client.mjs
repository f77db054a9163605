// @microsoft/microsoft-graph-client and @azure/identity as their documentation shows them, against a simulator.
// In: the environment variable READY, the ready line of the simulator. Out: one line of JSON that the test judges.
import { ClientSecretCredential } from "@azure/identity";
import { BatchRequestContent, BatchResponseContent, Client, PageIterator } from "@microsoft/microsoft-graph-client";
import { TokenCredentialAuthenticationProvider } from "@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials/index.js";

const ready = JSON.parse(process.env.READY);
const credential = new ClientSecretCredential("any-tenant", process.env.CLIENT_ID, process.env.CLIENT_SECRET, {
  authorityHost: ready.authority,
  disableInstanceDiscovery: true,
});
const authProvider = new TokenCredentialAuthenticationProvider(credential, {
  scopes: ["https://graph.microsoft.com/.default"],
});
const client = Client.initWithMiddleware({
  authProvider,
  baseUrl: ready.base_url.replace("/v1.0", "/"),
  customHosts: new Set([new URL(ready.base_url).hostname]),
});

const found = {};
const site = await client.api("/sites/contoso.sharepoint.com:/sites/ops").get();
found.site = site.webUrl;
const list = await client.api(`/sites/${site.id}/lists`).post({
  displayName: `Orders ${process.pid}`,
  columns: [
    { name: "OrderKey", text: {}, indexed: true, enforceUniqueValues: true },
    { name: "Amount", number: {} },
  ],
  list: { template: "genericList" },
});
const items = `/sites/${site.id}/lists/${list.id}/items`;
const start = await client.api(`${items}/delta`).query({ token: "latest" }).get();
for (let n = 0; n < 7; n++) await client.api(items).post({ fields: { OrderKey: `k${n}`, Amount: n } });

const page = await client.api(items).expand("fields($select=OrderKey,Amount)").top(3).get();
const keys = [];
await new PageIterator(client, page, (item) => keys.push(item.fields.OrderKey) > 0).iterate();
found.keys = keys;

const one = await client.api(items).filter("fields/OrderKey eq 'K3'").expand("fields").get();
found.filtered = one.value.map((item) => item.fields.Amount);

const etag = one.value[0]["@odata.etag"];
const changed = await client.api(`${items}/${one.value[0].id}/fields`).header("If-Match", etag).patch({ Amount: 33 });
found.changed = changed.Amount;
const refusal = async (call) => {
  try {
    await call;
    return "no refusal";
  } catch (error) {
    return [error.statusCode, error.code];
  }
};
found.stale = await refusal(client.api(`${items}/4/fields`).header("If-Match", etag).patch({ Amount: 34 }));
found.duplicate = await refusal(client.api(items).post({ fields: { OrderKey: "k0" } }));
found.skip = await refusal(client.api(items).skip(3).get());
found.count = await refusal(client.api(items).count(true).get());
found.misspelt = await refusal(client.api(items).expand("feilds").get());
found.method = await refusal(client.api(`/sites/${site.id}`).delete());

const batch = new BatchRequestContent([
  { id: "1", request: new Request(`https://graph${items}/1`, { method: "GET" }) },
  { id: "2", request: new Request(`https://graph${items}/99`, { method: "GET" }) },
]);
const answers = new BatchResponseContent(await client.api("/$batch").post(await batch.getContent()));
found.batch = [answers.getResponseById("1").status, answers.getResponseById("2").status];

await client.api(`${items}/1`).delete();
const changes = await client.api(start["@odata.deltaLink"]).get();
found.changes = changes.value.map((item) => item.id).sort();
found.links = start["@odata.deltaLink"].startsWith(ready.base_url);
console.log(JSON.stringify(found));
