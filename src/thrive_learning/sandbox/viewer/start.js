// Shows what the sandbox holds, and the contract, signed in with its own credentials, which open nothing else.
const addRow = (table, cells) => {
  const row = document.querySelector(`${table} tbody`).insertRow();
  cells.forEach((text, column) => {
    const cell = row.insertCell();
    // Never as HTML: the types are those of any file of records.
    (column ? cell : cell.appendChild(document.createElement("code"))).textContent = text;
  });
};

fetch("viewer/sandbox.json")
  .then((response) => response.json())
  .then(({ credentials, records, faults }) => {
    const { shown, count } = records;
    document.querySelector("#count").textContent =
      shown.length < count ? `the first ${shown.length} of ${count}` : `${count}`;
    shown.forEach(({ id, type }) => addRow("#records", [id, type ?? "(none)"]));
    faults.kinds.forEach(({ name, meaning, duration }) => addRow("#faults", [name, meaning, duration]));
    document.querySelector("#waiting").textContent = faults.waiting.join(", ") || "none";
    const viewer = SwaggerUIBundle({
      url: "openapi.yaml",
      dom_id: "#viewer",
      docExpansion: "full",
      tryItOutEnabled: true,
      displayRequestDuration: true,
      validatorUrl: null, // it would ask a server on the web
      onComplete: () =>
        viewer.preauthorizeBasic("basicAuth", credentials.tenant_id, credentials.api_secret),
    });
    viewer.initOAuth({
      clientId: credentials.client_id,
      clientSecret: credentials.client_secret,
      scopes: ["api/read"],
    });
  });
