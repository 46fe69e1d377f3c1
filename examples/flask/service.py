"""Serve activity records with Flask.

Run it with `flask --app service run` or `gunicorn 'service:create_app()'`. The credentials come from the
environment.
"""

import atexit
from http import HTTPStatus

from flask import Flask, Response, jsonify

from thrive_learning import (
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    ThriveClient,
    ThriveError,
)


def create_app() -> Flask:
    """Create the application with the client that all its requests share."""
    app = Flask(__name__)
    client = ThriveClient.from_env(timeout=10)
    atexit.register(client.close)

    @app.get("/activities/<activity_id>")
    def read_activity(activity_id: str) -> Response:
        return Response(client.activities.get(activity_id).to_json(), mimetype="application/json")

    @app.errorhandler(ThriveError)
    def answer_error(error: ThriveError) -> Response:
        """Log the message, which is for operators, and answer with the status alone."""
        status = http_status(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            app.logger.error("%s", error)
        response = jsonify(detail=status.phrase)
        response.status_code = status
        if error.retry_after is not None:
            response.headers["Retry-After"] = f"{error.retry_after:.0f}"
        return response

    return app


def http_status(error: ThriveError) -> HTTPStatus:
    """Return the status that says who must act: the caller, or the operators."""
    match error:
        case InvalidIdError():
            return HTTPStatus.BAD_REQUEST
        case NotFoundError():
            return HTTPStatus.NOT_FOUND
        case DeadlineExceededError():
            return HTTPStatus.GATEWAY_TIMEOUT
        case _ if error.is_transient:
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:  # credentials, settings, or a response that breaks the contract
            return HTTPStatus.INTERNAL_SERVER_ERROR
