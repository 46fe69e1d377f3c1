"""Serve activity records with AWS Lambda, behind API Gateway.

The secret comes from AWS Secrets Manager through the Parameters and Secrets Lambda Extension. Add its layer
to the function. Set THRIVE_REGION, THRIVE_TENANT_ID, THRIVE_CLIENT_ID, and SECRET_NAME, which names the
secret in Secrets Manager.
"""

import http.client
import json
import os
import urllib.parse
from typing import Any, Protocol

from thrive_learning import (
    ClientCredentials,
    InvalidIdError,
    NotFoundError,
    Region,
    ThriveClient,
    ThriveError,
)


class Context(Protocol):
    """The context of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds before Lambda ends the function."""
        ...


def read_secret() -> str:
    """Return the client secret.

    The extension keeps it for five minutes, so a new secret needs no deployment.
    """
    port = int(os.environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "2773"))
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        name = urllib.parse.quote(os.environ["SECRET_NAME"], safe="")
        headers = {"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]}
        connection.request("GET", f"/secretsmanager/get?secretId={name}", headers=headers)
        secret: str = json.load(connection.getresponse())["SecretString"]
        return secret
    finally:
        connection.close()


def create_client(region: Region | str) -> ThriveClient:
    """Create a client that reads the secret when it needs an access token."""
    credentials = ClientCredentials(
        os.environ["THRIVE_TENANT_ID"], os.environ["THRIVE_CLIENT_ID"], read_secret
    )
    return ThriveClient(region, credentials)


# Invocations of the same environment share it, with its connections and its access token.
client = create_client(os.environ["THRIVE_REGION"])


def lambda_handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return a record as JSON. An error is answered before Lambda ends the function."""
    remaining = context.get_remaining_time_in_millis() / 1000
    try:
        activity = client.activities.get(event["pathParameters"]["id"], timeout=max(remaining - 1, 0.1))
    except InvalidIdError:
        return {"statusCode": 400}
    except NotFoundError:
        return {"statusCode": 404}
    except ThriveError as error:
        print(f"[ERROR] {error}")
        return {"statusCode": 503 if error.is_transient else 500}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": activity.to_json()}
