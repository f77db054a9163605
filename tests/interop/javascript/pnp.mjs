// PnPjs (@pnp/graph, @pnp/nodejs) as its documentation shows it, against a simulator.
// In: the environment variable READY, the ready line of the simulator. Out: one line of JSON that the test judges.
import { graphfi } from "@pnp/graph";
import "@pnp/graph/batching.js";
import "@pnp/graph/columns/index.js";
import "@pnp/graph/list-item/index.js";
import "@pnp/graph/lists/index.js";
import "@pnp/graph/sites/index.js";
import { GraphDefault } from "@pnp/nodejs";

const ready = JSON.parse(process.env.READY);
const graph = graphfi().using(
  GraphDefault({
    baseUrl: ready.base_url,
    msal: {
      config: {
        auth: {
          authority: `${ready.authority}/any-tenant`,
          clientId: process.env.CLIENT_ID,
          clientSecret: process.env.CLIENT_SECRET,
          knownAuthorities: [new URL(ready.authority).host],
        },
      },
      scopes: ["https://graph.microsoft.com/.default"],
    },
  }),
);

const found = {};
const site = await graph.sites.getByUrl("contoso.sharepoint.com", "/sites/ops");
found.site = (await site()).webUrl;
const made = await site.lists.add({ displayName: `Deals ${process.pid}`, list: { template: "genericList" } });
const list = site.lists.getById(made.id);
await list.columns.add({ name: "Amount", number: {} });
for (let n = 0; n < 5; n++) await list.items.add({ fields: { Title: `t${n}`, Amount: n } });
found.titles = (await list.items.expand("fields").top(2)()).map((item) => item.fields.Title);
const all = [];
for await (const page of list.items.expand("fields").top(2)) all.push(...page.map((item) => item.fields.Title));
found.all = all;
await list.items.getById("1").update({ fields: { Title: "changed" } });
found.changed = (await list.items.getById("1").expand("fields")()).fields.Title;
found.versions = (await list.items.getById("1").versions()).map((version) => version.id);
await list.items.getById("2").delete();
found.columns = (await list.columns.select("name").filter("name eq 'Amount'")()).map((column) => column.name);
const refusal = async (call) => {
  try {
    await call;
    return "no refusal";
  } catch (error) {
    return error.status;
  }
};
found.missing = await refusal(list.items.getById("2")());
found.misspelt = await refusal(list.items.expand("feilds")());
const [batched, execute] = graph.batched();
const results = [];
for (const id of ["1", "3"]) {
  batched.sites.getById((await site()).id).lists.getById(made.id).items.getById(id)().then((item) => results.push(item.id));
}
await execute();
found.batch = results.sort();
console.log(JSON.stringify(found));
