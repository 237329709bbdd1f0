"""The unmodified databricks-sdk with a token: who one is, the directory, and permissions that the next call obeys."""

import uuid

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import BadRequest, DatabricksError, NotFound, PermissionDenied, ResourceConflict
from databricks.sdk.service import iam, ml

pytestmark = [pytest.mark.gate, pytest.mark.every_store]


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def client(gate):
    kept = {}

    def get(who=None, token=None):
        token = token or gate.tokens[who]
        if token not in kept:
            config = Config(host=gate.url, token=token, auth_type="pat", retry_timeout_seconds=20)
            kept[token] = WorkspaceClient(config=config)
        return kept[token]

    return get


@pytest.fixture
def newcomer(gate, client):
    """A user whom the SDK made, and its token."""
    import requests

    made = []

    def make():
        name = f"{fresh('user')}@example.com"
        user = client("admin").users.create(user_name=name, display_name="New Comer")
        made.append(user.id)
        answer = requests.post(
            f"{gate.url}/api/tracegate/v1/tokens",
            json={"principal": f"user:{name}"},
            headers={"Authorization": f"Bearer {gate.tokens['admin']}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return user, answer.json()["token"]

    yield make
    for identity in made:
        try:
            client("admin").users.delete(identity)
        except NotFound:
            pass


class TestWhoOneIs:
    def test_me_has_a_name_an_id_and_groups(self, client):
        me = client("bob").current_user.me()
        assert (me.user_name, me.active) == ("bob", True)
        assert {group.display for group in me.groups} == {"analysts", "users"}
        assert int(me.id) > 0 and all(int(group.value) > 0 for group in me.groups)
        assert client("bob").current_user.me().id == me.id

    def test_the_workspace_has_one_number(self, client):
        assert client("bob").get_workspace_id() == client("admin").get_workspace_id() == 0

    def test_others_are_for_those_who_manage_identities(self, client):
        with pytest.raises(PermissionDenied):
            list(client("bob").users.list())
        with pytest.raises(PermissionDenied):
            client("bob").users.create(user_name="bobs-friend")


class TestTheDirectory:
    def test_a_user_is_made_found_changed_and_deleted(self, client):
        users, name = client("admin").users, f"{fresh('ann')}@example.com"
        made = users.create(user_name=name, display_name="Ann", emails=[iam.ComplexValue(value=name, primary=True)])
        assert users.get(made.id).emails[0].value == name
        assert [user.id for user in users.list(filter=f'userName eq "{name.upper()}"')] == [made.id]
        assert [user.display_name for user in users.list(filter=f'userName eq "{name}"', attributes="id")] == [None]
        with pytest.raises(ResourceConflict):
            users.create(user_name=name)
        replace = iam.Patch(op=iam.PatchOp.REPLACE, path="displayName", value="Ann B")
        users.patch(made.id, operations=[replace], schemas=[iam.PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP])
        assert users.get(made.id).display_name == "Ann B"
        users.update(made.id, user_name=name, display_name="Ann C", active=False)
        changed = users.get(made.id)
        assert (changed.display_name, changed.active) == ("Ann C", False)
        users.delete(made.id)
        with pytest.raises(NotFound):
            users.get(made.id)

    def test_a_value_that_the_sdk_leaves_out_is_refused_and_not_ignored(self, client, newcomer):
        user, _ = newcomer()
        off = iam.Patch(op=iam.PatchOp.REPLACE, path="active", value=False)
        with pytest.raises(DatabricksError, match="value"):
            client("admin").users.patch(user.id, operations=[off])
        assert client("admin").users.get(user.id).active is True

    def test_pages_end_and_hold_everybody_once(self, client, newcomer):
        for _ in range(5):
            newcomer()
        users = client("admin").users
        whole = [user.id for user in users.list()]
        assert len(whole) == len(set(whole)) >= 5
        assert [user.id for user in users.list(count=2)] == whole

    def test_groups_have_members_and_nest(self, client, newcomer):
        groups, (user, token) = client("admin").groups, newcomer()
        inner = groups.create(display_name=fresh("inner"), members=[iam.ComplexValue(value=user.id)])
        outer = groups.create(display_name=fresh("outer"))
        add = iam.Patch(op=iam.PatchOp.ADD, value={"members": [{"value": inner.id}]})
        groups.patch(outer.id, operations=[add])
        assert {member.value for member in groups.get(outer.id).members} == {inner.id}
        seen = {group.display for group in client(token=token).current_user.me().groups}
        assert {inner.display_name, outer.display_name} <= seen
        remove = iam.Patch(op=iam.PatchOp.REMOVE, path=f'members[value eq "{user.id}"]')
        groups.patch(inner.id, operations=[remove])
        assert not groups.get(inner.id).members
        with pytest.raises(DatabricksError):
            groups.patch(inner.id, operations=[iam.Patch(op=iam.PatchOp.ADD, value={"members": [{"value": outer.id}]})])
        groups.update(inner.id, display_name=inner.display_name, members=[iam.ComplexValue(value=user.id)])
        for group in (inner, outer):
            groups.delete(group.id)
        assert not list(groups.list(filter=f'displayName eq "{inner.display_name}"'))

    def test_service_principals_have_an_application_id(self, client):
        principals = client("admin").service_principals
        made = principals.create(display_name=fresh("bot"), active=True)
        assert uuid.UUID(made.application_id)
        found = list(principals.list(filter=f'applicationId eq "{made.application_id}"'))
        assert [one.display_name for one in found] == [made.display_name]
        principals.update(made.id, display_name="renamed", application_id=made.application_id, active=True)
        assert principals.get(made.id).display_name == "renamed"
        principals.delete(made.id)

    def test_the_last_administrator_stays(self, client):
        admins = next(iter(client("admin").groups.list(filter='displayName eq "admins"')))
        with pytest.raises(BadRequest):
            client("admin").groups.update(admins.id, display_name="admins", members=[])
        me = client("admin").current_user.me()
        with pytest.raises(BadRequest):
            client("admin").users.update(me.id, user_name=me.user_name, active=False)
        with pytest.raises(BadRequest):
            client("admin").users.delete(me.id)
        assert client("admin").current_user.me().active

    def test_deactivation_ends_the_next_call(self, client, newcomer):
        user, token = newcomer()
        assert client(token=token).current_user.me().id == user.id
        client("admin").users.update(user.id, user_name=user.user_name, active=False)
        with pytest.raises(DatabricksError, match="deactivated"):
            client(token=token).current_user.me()


def level(entry):
    return [permission.permission_level for permission in entry.all_permissions]


class TestPermissions:
    @pytest.fixture
    def experiment(self, as_caller):
        return as_caller("admin").run("create_experiment", name=fresh("governed")).value

    def test_a_permission_set_here_changes_the_next_call_of_mlflow(self, client, as_caller, experiment):
        experiments, carol = client("admin").experiments, as_caller("carol")
        as_caller("admin").run("write_trace", experiment_id=experiment, text="said").value
        carol.run("search_traces", experiment_ids=[experiment]).assert_refused()
        entry = ml.ExperimentAccessControlRequest(
            user_name="carol", permission_level=ml.ExperimentPermissionLevel.CAN_READ
        )
        answer = experiments.set_permissions(experiment, access_control_list=[entry])
        assert answer.object_id == f"/experiments/{experiment}" and answer.object_type == "mlflowExperiment"
        assert len(carol.run("search_traces", experiment_ids=[experiment]).value) == 1
        carol.run("create_run", experiment_id=experiment).assert_refused()
        entry.permission_level = ml.ExperimentPermissionLevel.CAN_EDIT
        experiments.update_permissions(experiment, access_control_list=[entry])
        carol.run("create_run", experiment_id=experiment).value
        experiments.set_permissions(experiment, access_control_list=[])
        carol.run("search_traces", experiment_ids=[experiment]).assert_refused()

    def test_lists_read_back_as_they_were_written(self, client, experiment):
        admin = client("admin")
        bot = admin.service_principals.create(display_name=fresh("bot"))
        requests = [
            iam.AccessControlRequest(user_name="bob", permission_level=iam.PermissionLevel.CAN_READ),
            iam.AccessControlRequest(group_name="analysts", permission_level=iam.PermissionLevel.CAN_RUN),
            iam.AccessControlRequest(
                service_principal_name=bot.application_id, permission_level=iam.PermissionLevel.CAN_MANAGE
            ),
        ]
        admin.permissions.set("experiments", experiment, access_control_list=requests)
        listed = admin.permissions.get("experiments", experiment).access_control_list
        assert level(next(one for one in listed if one.user_name == "bob")) == [iam.PermissionLevel.CAN_READ]
        assert level(next(one for one in listed if one.group_name == "analysts")) == [iam.PermissionLevel.CAN_EDIT]
        of_bot = next(one for one in listed if one.service_principal_name == bot.application_id)
        assert level(of_bot) == [iam.PermissionLevel.CAN_MANAGE] and of_bot.display_name == bot.display_name
        admins = next(one for one in listed if one.group_name == "admins")
        assert admins.all_permissions[0].inherited and admins.all_permissions[0].inherited_from_object
        with pytest.raises(NotFound):
            admin.permissions.update(
                "experiments", experiment,
                access_control_list=[iam.AccessControlRequest(user_name="nobody", permission_level=iam.PermissionLevel.CAN_READ)],
            )

    def test_levels_that_the_sdk_does_not_know_do_not_break_it(self, gate, client, experiment):
        import requests

        body = {"access_control_list": [{"service_principal_name": "agent", "permission_level": "CAN_INGEST"}]}
        answer = requests.patch(
            f"{gate.url}/api/2.0/permissions/experiments/{experiment}", json=body,
            headers={"Authorization": f"Bearer {gate.tokens['admin']}"}, timeout=30,
        )
        assert answer.status_code == 200, answer.text
        experiments = client("admin").experiments
        listed = experiments.get_permissions(experiment).access_control_list
        agent = next(one for one in listed if one.service_principal_name == "agent")
        assert level(agent) == [None]
        # Sent back as it was read, it is refused, and not taken for something else.
        again = ml.ExperimentAccessControlRequest(service_principal_name="agent", permission_level=level(agent)[0])
        with pytest.raises(BadRequest):
            experiments.update_permissions(experiment, access_control_list=[again])
        levels = experiments.get_permission_levels(experiment).permission_levels
        assert {ml.ExperimentPermissionLevel.CAN_READ, ml.ExperimentPermissionLevel.CAN_MANAGE} <= {
            one.permission_level for one in levels
        }

    def test_only_who_manages_sees_a_list_and_hidden_is_as_missing(self, client, secret_lab, support_bot):
        with pytest.raises(PermissionDenied):
            client("bob").experiments.get_permissions(support_bot)
        told = []
        for experiment in (secret_lab, "987654"):
            with pytest.raises(NotFound) as refused:
                client("bob").experiments.get_permissions(experiment)
            told.append(str(refused.value).split(" (decision")[0].replace(experiment, "N"))
        assert told[0] == told[1]

    def test_tokens_and_other_objects(self, client):
        admin = client("admin")
        listed = admin.token_management.get_permissions().access_control_list
        assert "users" in {one.group_name for one in listed}
        assert admin.permissions.get_permission_levels("directories", "0").permission_levels
        assert admin.permissions.get("directories", "Users/ann").object_id == "/directories/Users/ann"
        with pytest.raises(NotFound):
            admin.permissions.get("serving-endpoints", "none")
        with pytest.raises(BadRequest):
            admin.permissions.get("notebooks", "1")
