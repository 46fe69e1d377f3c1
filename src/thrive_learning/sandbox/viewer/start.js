// Shows the contract, signed in with the sandbox's own credentials, which open nothing else.
fetch("viewer/credentials.json")
  .then((response) => response.json())
  .then((credentials) => {
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
