"""Who may look and who may act, as Airflow's own permissions have it; and that a request is meant by its user.

To look is to be allowed to see the DAG `job`; to act, on one's own jobs, is to be allowed to edit it; to act on
everybody's is to be allowed to edit the pool `jobs`, as Airflow's roles Op and Admin are. Whoever is not signed in gets
401.

A browser adds Airflow's cookie to every request to this site, whichever page sent it. The cookie is SameSite=Lax, which
does not keep out a page on another name of the same site. So an action needs, besides the cookie:
- the header X-Eyewall-Request, which a form cannot send, and a script of another origin only after asking this server
  (a CORS preflight), which says no;
- a JSON body, for the same reason;
- an Origin, where the browser tells one, that is this server's own, and no Sec-Fetch-Site but same-origin.
"""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import PoolDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request

from eyewall.contracts.submission import owner_of

#: The DAG and the pool whose permissions are those of the page.
DAG, POOL = "job", "jobs"
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


@dataclass(frozen=True)
class Acting:
    """Who acts: the name that is recorded, whose jobs are his, and whether he may act on everybody's."""

    name: str
    owner: str
    on_all: bool

    @classmethod
    def of(cls, user: GetUserDep) -> "Acting":
        """As Airflow's permissions have it."""
        on_all = get_auth_manager().is_authorized_pool(method="PUT", details=PoolDetails(name=POOL), user=user)
        return cls(str(user.get_name()), owner_of(str(user.get_name())), on_all)

    def refuse_what_is_not_his(self, job: int, owner: str) -> None:
        """Raise 403 for a job of somebody else's, unless he may act on everybody's."""
        if not self.on_all and owner != self.owner:
            raise HTTPException(
                403,
                f"Job {job} is {owner}'s, and you may act on your own: others' need permission to edit pool {POOL}.",
            )


def actor(request: Request, user: GetUserDep) -> Acting:
    """Who acts. Raises 403 for a user that may only look."""
    try:
        _may_edit(request, user)
    except HTTPException:
        raise HTTPException(403, f"You may look, but not act: that needs permission to edit the DAG {DAG}.") from None
    return Acting.of(user)


Actor = Annotated[Acting, Depends(actor)]
CanAct = Annotated[bool, Depends(can_act)]
