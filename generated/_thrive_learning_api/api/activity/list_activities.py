from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.activity_page import ActivityPage
from ...models.error import Error
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    page: int | Unset = 1,
    per_page: int | Unset = 20,
    actions: str | Unset = UNSET,
    omit_actions: str | Unset = UNSET,
    content_ids: str | Unset = UNSET,
    content_type: str | Unset = UNSET,
    timestamp_from: str | Unset = UNSET,
    timestamp_to: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["page"] = page

    params["perPage"] = per_page

    params["actions"] = actions

    params["omitActions"] = omit_actions

    params["contentIds"] = content_ids

    params["contentType"] = content_type

    params["timestampFrom"] = timestamp_from

    params["timestampTo"] = timestamp_to

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/activities",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ActivityPage | Error | None:
    if response.status_code == 200:
        response_200 = ActivityPage.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Error.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Error.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Error.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = Error.from_dict(response.json())

        return response_404

    if response.status_code == 422:
        response_422 = Error.from_dict(response.json())

        return response_422

    if response.status_code == 429:
        response_429 = Error.from_dict(response.json())

        return response_429

    if response.status_code == 500:
        response_500 = Error.from_dict(response.json())

        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[ActivityPage | Error]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    page: int | Unset = 1,
    per_page: int | Unset = 20,
    actions: str | Unset = UNSET,
    omit_actions: str | Unset = UNSET,
    content_ids: str | Unset = UNSET,
    content_type: str | Unset = UNSET,
    timestamp_from: str | Unset = UNSET,
    timestamp_to: str | Unset = UNSET,
) -> Response[ActivityPage | Error]:
    """Query activity records

     Retrieves a page of the activity records that match all filters.

    Args:
        page (int | Unset):  Default: 1.
        per_page (int | Unset):  Default: 20.
        actions (str | Unset):
        omit_actions (str | Unset):
        content_ids (str | Unset):
        content_type (str | Unset):
        timestamp_from (str | Unset):
        timestamp_to (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ActivityPage | Error]
    """

    kwargs = _get_kwargs(
        page=page,
        per_page=per_page,
        actions=actions,
        omit_actions=omit_actions,
        content_ids=content_ids,
        content_type=content_type,
        timestamp_from=timestamp_from,
        timestamp_to=timestamp_to,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    page: int | Unset = 1,
    per_page: int | Unset = 20,
    actions: str | Unset = UNSET,
    omit_actions: str | Unset = UNSET,
    content_ids: str | Unset = UNSET,
    content_type: str | Unset = UNSET,
    timestamp_from: str | Unset = UNSET,
    timestamp_to: str | Unset = UNSET,
) -> ActivityPage | Error | None:
    """Query activity records

     Retrieves a page of the activity records that match all filters.

    Args:
        page (int | Unset):  Default: 1.
        per_page (int | Unset):  Default: 20.
        actions (str | Unset):
        omit_actions (str | Unset):
        content_ids (str | Unset):
        content_type (str | Unset):
        timestamp_from (str | Unset):
        timestamp_to (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ActivityPage | Error
    """

    return sync_detailed(
        client=client,
        page=page,
        per_page=per_page,
        actions=actions,
        omit_actions=omit_actions,
        content_ids=content_ids,
        content_type=content_type,
        timestamp_from=timestamp_from,
        timestamp_to=timestamp_to,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    page: int | Unset = 1,
    per_page: int | Unset = 20,
    actions: str | Unset = UNSET,
    omit_actions: str | Unset = UNSET,
    content_ids: str | Unset = UNSET,
    content_type: str | Unset = UNSET,
    timestamp_from: str | Unset = UNSET,
    timestamp_to: str | Unset = UNSET,
) -> Response[ActivityPage | Error]:
    """Query activity records

     Retrieves a page of the activity records that match all filters.

    Args:
        page (int | Unset):  Default: 1.
        per_page (int | Unset):  Default: 20.
        actions (str | Unset):
        omit_actions (str | Unset):
        content_ids (str | Unset):
        content_type (str | Unset):
        timestamp_from (str | Unset):
        timestamp_to (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ActivityPage | Error]
    """

    kwargs = _get_kwargs(
        page=page,
        per_page=per_page,
        actions=actions,
        omit_actions=omit_actions,
        content_ids=content_ids,
        content_type=content_type,
        timestamp_from=timestamp_from,
        timestamp_to=timestamp_to,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    page: int | Unset = 1,
    per_page: int | Unset = 20,
    actions: str | Unset = UNSET,
    omit_actions: str | Unset = UNSET,
    content_ids: str | Unset = UNSET,
    content_type: str | Unset = UNSET,
    timestamp_from: str | Unset = UNSET,
    timestamp_to: str | Unset = UNSET,
) -> ActivityPage | Error | None:
    """Query activity records

     Retrieves a page of the activity records that match all filters.

    Args:
        page (int | Unset):  Default: 1.
        per_page (int | Unset):  Default: 20.
        actions (str | Unset):
        omit_actions (str | Unset):
        content_ids (str | Unset):
        content_type (str | Unset):
        timestamp_from (str | Unset):
        timestamp_to (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ActivityPage | Error
    """

    return (
        await asyncio_detailed(
            client=client,
            page=page,
            per_page=per_page,
            actions=actions,
            omit_actions=omit_actions,
            content_ids=content_ids,
            content_type=content_type,
            timestamp_from=timestamp_from,
            timestamp_to=timestamp_to,
        )
    ).parsed
