"""Who may look and who may act, as Airflow's own permissions have it; and that a request is meant by its user.

To look is to be allowed to see the DAG `job`; to act is to be allowed to edit it. Whoever is not signed in gets 401.

A browser adds Airflow's cookie to every request to this site, whichever page sent it. The cookie is SameSite=Lax, which
does not keep out a page on another name of the same site. So an action needs, besides the cookie:
- the header X-Eyewall-Request, which a form cannot send, and a script of another origin only after asking this server
  (a CORS preflight), which says no;
- a JSON body, for the same reason;
- an Origin, where the browser tells one, that is this server's own, and no Sec-Fetch-Site but same-origin.
"""

from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request

#: The DAG whose permissions are those of the page.
DAG = "job"
HEADER = "X-Eyewall-Request"
may_look = requires_access_dag("GET", param_dag_id=DAG)
_may_edit = requires_access_dag("PUT", param_dag_id=DAG)
User = GetUserDep


def can_act(request: Request, user: GetUserDep) -> bool:
    """Whether the user may act: for the page, which shows no buttons otherwise."""
    try:
        _may_edit(request, user)
    except HTTPException:
        return False
    return True


def meant(request: Request) -> None:
    """Raise 403 unless the request comes from this page itself, or from a program that says so; 415 without JSON."""
    origin = request.headers.get("origin")
    own = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {""}
    if (
        HEADER not in request.headers
        or (origin is not None and urlsplit(origin).netloc not in own)
        or request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
    ):
        raise HTTPException(403, f"An action must come from this page, with the header {HEADER}.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "An action takes JSON.")


def actor(request: Request, user: GetUserDep) -> str:
    """Name under which an action is recorded. Raises 403 for a user that may only look."""
    try:
        _may_edit(request, user)
    except HTTPException:
        raise HTTPException(403, f"You may look, but not act: that needs permission to edit the DAG {DAG}.") from None
    return str(user.get_name())


Actor = Annotated[str, Depends(actor)]
CanAct = Annotated[bool, Depends(can_act)]
