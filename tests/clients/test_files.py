"""The Files API through the unmodified databricks-sdk: volumes as people with and without their privileges, large files
in parts, downloads that go on where they broke off, and what each could try to get round the privileges."""

import hashlib
import io
import json
import os
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound, PermissionDenied
from databricks.sdk.service import catalog

from harness import processes

FILES, DIRECTORIES = "/api/2.0/fs/files", "/api/2.0/fs/directories"
SIGNATURE = "x-tracegate-signature"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    outside = directory / "outside"
    outside.mkdir()
    server = processes.start_demo(
        directory / "gate", None, TRACEGATE__LAKE__EXTERNAL_DIRECTORIES=f'["{outside}"]'
    )
    server.outside, server.data = outside, directory / "gate" / "data"
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sdk(lake):
    kept = {}

    def get(who):
        if who not in kept:
            config = Config(host=lake.url, token=lake.details["tokens"][who], auth_type="pat", retry_timeout_seconds=20)
            kept[who] = WorkspaceClient(config=config)
        return kept[who]

    return get


@pytest.fixture(scope="module")
def raw(lake):
    """A call by hand: the path goes out as it is written."""

    def call(who, method, path, headers=None, **more):
        headers = dict(headers or {})
        if who:
            headers["Authorization"] = f"Bearer {lake.details['tokens'][who]}"
        request = requests.Request(method, lake.url, headers=headers, **more).prepare()
        request.url = lake.url + path
        return requests.Session().send(request, timeout=60)

    return call


def fresh(prefix="c"):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def grant(client, kind, name, who, *privileges, remove=()):
    change = catalog.PermissionsChange(
        principal=who,
        add=[catalog.Privilege(one) for one in privileges],
        remove=[catalog.Privilege(one) for one in remove],
    )
    return client.grants.update(securable_type=kind, full_name=name, changes=[change])


@pytest.fixture
def volume(sdk):
    """A volume of the administrator's: its full name. Nobody else has anything on it."""
    admin, name = sdk("admin"), fresh("main")
    admin.catalogs.create(name=name)
    admin.schemas.create(name="agents", catalog_name=name)
    admin.volumes.create(catalog_name=name, schema_name="agents", name="papers", volume_type=catalog.VolumeType.MANAGED)
    yield f"{name}.agents.papers"
    try:
        admin.catalogs.delete(name, force=True)
    except NotFound:
        pass


def let(sdk, volume, who, *privileges):
    """The way to a volume, and privileges on it."""
    name, schema, _ = volume.split(".")
    admin = sdk("admin")
    grant(admin, "catalog", name, who, "USE_CATALOG")
    grant(admin, "schema", f"{name}.{schema}", who, "USE_SCHEMA")
    if privileges:
        grant(admin, "volume", volume, who, *privileges)


def place(volume, path=""):
    return f"/Volumes/{volume.replace('.', '/')}" + (f"/{path}" if path else "")


class TestFiles:
    def test_a_file_is_written_read_described_replaced_and_deleted(self, sdk, volume):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        files, path = sdk("alice").files, place(volume, "deep/er/a b+ü.txt")
        files.upload(path, io.BytesIO(b"hello"))
        answer = files.download(path)
        assert (answer.contents.read(), answer.content_length) == (b"hello", 5)
        about = files.get_metadata(path)
        assert (about.content_length, about.content_type) == (5, "application/octet-stream") and about.last_modified
        with pytest.raises(AlreadyExists):
            files.upload(path, io.BytesIO(b"other"))
        with pytest.raises(AlreadyExists):
            files.upload(path, io.BytesIO(b"other"), overwrite=False)
        assert files.download(path).contents.read() == b"hello"
        files.upload(path, io.BytesIO(b"other!"), overwrite=True)
        assert files.download(path).contents.read() == b"other!"
        files.delete(path)
        for gone in (lambda: files.download(path), lambda: files.get_metadata(path), lambda: files.delete(path)):
            with pytest.raises(NotFound):
                gone()

    def test_directories_are_made_listed_in_pages_and_removed_once_empty(self, sdk, volume):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        files = sdk("alice").files
        assert list(files.list_directory_contents(place(volume))) == []
        files.create_directory(place(volume, "empty/inner"))
        files.create_directory(place(volume, "empty/inner"))
        files.get_directory_metadata(place(volume, "empty/inner"))
        for number in range(7):
            files.upload(place(volume, f"many/{number}.txt"), io.BytesIO(b"x" * number))
        listed = list(files.list_directory_contents(place(volume, "many"), page_size=3))
        assert [(one.name, one.file_size, one.is_directory) for one in listed] == [(f"{n}.txt", n, False) for n in range(7)]
        assert listed[0].path == place(volume, "many/0.txt") and listed[0].last_modified > 1_600_000_000_000
        top = {one.name: one.is_directory for one in files.list_directory_contents(place(volume))}
        assert top == {"empty": True, "many": True}
        with pytest.raises(BadRequest):
            files.delete_directory(place(volume, "many"))
        files.delete_directory(place(volume, "empty/inner"))
        for missing in ("empty/inner", "many/0.txt", "none"):
            with pytest.raises(NotFound):
                files.get_directory_metadata(place(volume, missing))
        with pytest.raises(NotFound):
            files.delete_directory(place(volume, "none"))

    def test_a_large_file_goes_up_in_parts_beside_one_another_and_comes_back_whole(self, sdk, volume, tmp_path, lake):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        files, path = sdk("alice").files, place(volume, "large.bin")
        source, back = tmp_path / "source", tmp_path / "back"
        with open(source, "wb") as out:
            for _ in range(61):
                out.write(os.urandom(1024 * 1024))
        files.upload_from(path, str(source))
        assert files.get_metadata(path).content_length == 61 * 1024 * 1024
        files.download_to(path, str(back), use_parallel=True)
        digest = lambda file: hashlib.sha256(file.read_bytes()).hexdigest()
        assert digest(back) == digest(source)
        with open(source, "rb") as stream:
            files.upload(place(volume, "streamed.bin"), stream, use_parallel=False)
        assert hashlib.sha256(files.download(place(volume, "streamed.bin")).contents.read()).hexdigest() == digest(source)
        with pytest.raises(AlreadyExists):
            files.upload_from(path, str(source))
        # Really in parts, and none of them is left.
        headers = {"Authorization": f"Bearer {lake.details['tokens']['admin']}"}
        events = requests.get(f"{lake.url}/metrics", headers=headers, timeout=30).text
        assert 'operation="files.part_put"' in events
        assert (lake.data / "lake").is_dir() and not list(lake.data.glob("lake/.tracegate/parts/*/*"))

    def test_a_download_goes_on_where_it_broke_off_and_not_in_another_file(self, raw, sdk, volume):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        path = FILES + place(volume, "a.bin")
        sdk("alice").files.upload(place(volume, "a.bin"), io.BytesIO(b"0123456789"))
        first = raw("alice", "GET", path)
        rest = raw("alice", "GET", path, headers={"Range": "bytes=4-", "If-Unmodified-Since": first.headers["last-modified"]})
        assert (rest.status_code, rest.content, rest.headers["content-range"]) == (206, b"456789", "bytes 4-9/10")
        assert raw("alice", "GET", path, headers={"Range": "bytes=10-"}).status_code == 416
        old = {"If-Unmodified-Since": "Tue, 01 Jan 2019 00:00:00 GMT"}
        assert raw("alice", "GET", path, headers={"Range": "bytes=4-", **old}).status_code == 412

    def test_of_many_who_make_one_file_at_once_one_does(self, raw, sdk, volume):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        path = FILES + place(volume, "once.txt")
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda n: raw("alice", "PUT", path, data=str(n)).status_code, range(8)))
        assert sorted(statuses) == [204] + [409] * 7

    def test_an_external_volume_shows_what_lies_in_its_place(self, sdk, lake):
        admin, name = sdk("admin"), fresh("ext")
        (lake.outside / name / "v").mkdir(parents=True)
        (lake.outside / name / "v" / "there.txt").write_text("was there")
        admin.external_locations.create(name=name, url=f"file://{lake.outside}/{name}", credential_name="local")
        admin.catalogs.create(name=name)
        admin.schemas.create(name="s", catalog_name=name)
        admin.volumes.create(catalog_name=name, schema_name="s", name="v", volume_type=catalog.VolumeType.EXTERNAL,
                             storage_location=f"file://{lake.outside}/{name}/v")
        assert admin.files.download(f"/Volumes/{name}/s/v/there.txt").contents.read() == b"was there"
        admin.files.upload(f"/Volumes/{name}/s/v/new.txt", io.BytesIO(b"n"))
        assert (lake.outside / name / "v" / "new.txt").read_bytes() == b"n"

    def test_no_link_leads_out_of_a_volume(self, raw, sdk, lake):
        admin, name = sdk("admin"), fresh("ext")
        place_of = lake.outside / name
        (place_of / "v").mkdir(parents=True)
        (place_of / "other").mkdir()
        (place_of / "other" / "secret").write_text("s")
        (place_of / "v" / "link").symlink_to(place_of / "other")
        (place_of / "v" / "file").symlink_to(place_of / "other" / "secret")
        (place_of / "w").symlink_to(place_of / "other")
        admin.external_locations.create(name=name, url=f"file://{place_of}", credential_name="local")
        admin.catalogs.create(name=name)
        admin.schemas.create(name="s", catalog_name=name)
        for one in ("v", "w"):
            admin.volumes.create(catalog_name=name, schema_name="s", name=one, volume_type=catalog.VolumeType.EXTERNAL,
                                 storage_location=f"file://{place_of}/{one}")
        for path in ("v/link/secret", "v/file", "w/secret"):
            assert raw("admin", "GET", f"{FILES}/Volumes/{name}/s/{path}").status_code == 404, path
            assert raw("admin", "HEAD", f"{FILES}/Volumes/{name}/s/{path}").status_code == 404, path
            assert raw("admin", "DELETE", f"{FILES}/Volumes/{name}/s/{path}").status_code == 404, path
        for path in ("v/link/new", "w/new", "w/secret"):
            assert raw("admin", "PUT", f"{FILES}/Volumes/{name}/s/{path}?overwrite=true", data="x").status_code == 400, path
        assert list(admin.files.list_directory_contents(f"/Volumes/{name}/s/v")) == []
        assert raw("admin", "PUT", f"{DIRECTORIES}/Volumes/{name}/s/v/link/new").status_code == 400
        assert [one.name for one in (place_of / "other").iterdir()] == ["secret"]
        assert (place_of / "other" / "secret").read_text() == "s"


CALLS = {
    "read": [
        ("GET", FILES + "{path}", {}), ("HEAD", FILES + "{path}", {}), ("GET", DIRECTORIES + "{root}", {}),
        ("HEAD", DIRECTORIES + "{root}", {}), ("POST", "/api/2.0/fs/create-download-url?path={path}", {}),
    ],
    "write": [
        ("PUT", FILES + "{path}?overwrite=true", {"data": "evil"}), ("DELETE", FILES + "{path}", {}),
        ("POST", FILES + "{path}?action=initiate-upload&overwrite=true", {}),
        ("PUT", DIRECTORIES + "{root}/made", {}), ("DELETE", DIRECTORIES + "{root}/made", {}),
        ("POST", "/api/2.0/fs/create-upload-part-urls",
         {"body": {"path": "{path}", "session_token": "x", "start_part_number": 1, "count": 1}}),
        ("POST", "/api/2.0/fs/create-abort-upload-url", {"body": {"path": "{path}", "session_token": "x"}}),
        ("PUT", "/api/2.0/fs/upload-parts{path}?session_token=x&part_number=1", {"data": "evil"}),
        ("DELETE", "/api/2.0/fs/upload-parts{path}?session_token=x", {}),
    ],
}


def try_all(raw, who, volume, kind, name="kept.txt"):
    for method, template, more in CALLS[kind]:
        fill = lambda text: text.replace("{path}", place(volume, name)).replace("{root}", place(volume))
        more = {**more}
        if "body" in more:
            more["data"] = fill(json.dumps(more.pop("body")))
        yield method, template, raw(who, method, fill(template), **more)


class TestPrivileges:
    def test_a_hidden_volume_is_a_missing_one_by_every_call(self, raw, sdk, volume):
        sdk("admin").files.upload(place(volume, "kept.txt"), io.BytesIO(b"kept"))
        missing = volume.rsplit(".", 1)[0] + ".nothing"
        hidden_text = lambda answer, name: answer.text.split(" (decision")[0].replace(name, "NAME")
        for kind in CALLS:
            there, not_there = try_all(raw, "bob", volume, kind), try_all(raw, "bob", missing, kind)
            for (method, template, one), (_, _, other) in zip(there, not_there):
                assert one.status_code == other.status_code == 404, (method, template, one.status_code, one.text)
                assert hidden_text(one, volume) == hidden_text(other, missing), (method, template)
        assert sdk("admin").files.download(place(volume, "kept.txt")).contents.read() == b"kept"

    @pytest.mark.parametrize("privileges, reads, writes", [
        (("READ_VOLUME",), True, False), (("WRITE_VOLUME",), False, True), (("READ_VOLUME", "WRITE_VOLUME"), True, True),
        ((), False, False), (("APPLY_TAG",), False, False), (("MANAGE",), False, False), (("ALL_PRIVILEGES",), True, True),
    ])
    def test_each_call_needs_the_privilege_of_its_kind(self, raw, sdk, volume, privileges, reads, writes):
        sdk("admin").files.upload(place(volume, "kept.txt"), io.BytesIO(b"kept"))
        let(sdk, volume, "bob", *privileges)
        for kind, may in (("read", reads), ("write", writes)):
            for method, template, answer in try_all(raw, "bob", volume, kind):
                if may:
                    assert answer.status_code not in (401, 403), (method, template, answer.text)
                    assert "does not exist" not in answer.text or "volume" not in answer.text, (method, template, answer.text)
                else:
                    assert answer.status_code in (403, 404), (method, template, answer.status_code, answer.text)
        if not writes:
            assert sdk("admin").files.download(place(volume, "kept.txt")).contents.read() == b"kept"

    def test_the_gates_hold_too(self, raw, sdk, volume):
        sdk("admin").files.upload(place(volume, "kept.txt"), io.BytesIO(b"kept"))
        grant(sdk("admin"), "volume", volume, "bob", "READ_VOLUME", "WRITE_VOLUME")
        for kind in CALLS:
            for method, template, answer in try_all(raw, "bob", volume, kind):
                assert answer.status_code == 404, (method, template, answer.text)
        let(sdk, volume, "bob")
        assert sdk("bob").files.download(place(volume, "kept.txt")).contents.read() == b"kept"

    def test_nothing_of_a_refused_upload_is_kept_or_awaited(self, sdk, volume, lake):
        let(sdk, volume, "bob", "READ_VOLUME")
        address = urlsplit(lake.url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            head = (
                f"PUT {FILES}{place(volume, 'x')} HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Authorization: Bearer {lake.details['tokens']['bob']}\r\nContent-Length: 1000000\r\n\r\nabc"
            )
            connection.sendall(head.encode())
            # The rest of the body never comes, and is not waited for.
            assert b" 403 " in connection.recv(100)
        assert list(sdk("admin").files.list_directory_contents(place(volume))) == []

    def test_the_record_says_what_was_read_and_written_before_it_is(self, sdk, volume, lake):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        sdk("alice").files.upload(place(volume, "seen.txt"), io.BytesIO(b"12345"))
        sdk("alice").files.download(place(volume, "seen.txt")).contents.read()
        headers = {"Authorization": f"Bearer {lake.details['tokens']['admin']}"}

        def events():
            answer = requests.get(f"{lake.url}/api/tracegate/v1/audit/events?principal=user:alice&limit=100", headers=headers, timeout=30)
            assert answer.status_code == 200, answer.text
            return [one for one in answer.json()["events"] if f"volume:{volume}" in json.dumps(one)]

        processes.wait_until(lambda: any("files.get" in json.dumps(one) for one in events()), 20, "the record of the read")
        put = [one for one in events() if "files.put" in json.dumps(one)]
        assert any("WRITE_VOLUME" in json.dumps(one) and "seen.txt" in json.dumps(one) for one in put)
        assert "12345" not in json.dumps(put)


class TestPaths:
    @pytest.mark.parametrize("tail", [
        "/..%2Fother", "/%2e%2e/other", "/../other", "/a//b", "/a%2fb", "/a%5Cb", "/./a", "/%252e%252e/x", "/a%00", "/a%0a",
        "/.tracegate/parts/x", "/.tracegate", "/x%2500",
    ])
    def test_a_path_has_one_reading_or_none(self, raw, sdk, volume, tail):
        for method, more in (("GET", {}), ("PUT", {"data": "x"}), ("DELETE", {}), ("HEAD", {})):
            for base in (FILES, DIRECTORIES):
                answer = raw("admin", method, base + place(volume) + tail, **more)
                assert answer.status_code in (400, 404), (method, base, answer.status_code, answer.text)
        assert list(sdk("admin").files.list_directory_contents(place(volume))) == []

    def test_a_path_in_a_query_or_body_is_read_the_same_way(self, raw, volume):
        for path in (place(volume, "../x"), place(volume, "a//b"), place(volume, "%2e%2e/x"), "/Volumes/a.b/c/d/x", "relative", "/etc/passwd"):
            url = raw("admin", "POST", f"/api/2.0/fs/create-download-url?path={requests.utils.quote(path, safe='')}")
            body = json.dumps({"path": path, "session_token": "x", "start_part_number": 1, "count": 1})
            part = raw("admin", "POST", "/api/2.0/fs/create-upload-part-urls", data=body)
            assert url.status_code in (400, 404) and part.status_code in (400, 404), (path, url.text, part.text)
        twice = f"/api/2.0/fs/create-download-url?path={place(volume, 'a')}&path={place(volume, 'b')}"
        assert raw("admin", "POST", twice).status_code == 400


class TestSignedUrls:
    @pytest.fixture
    def signed(self, raw, sdk, volume):
        """Alice's URL of a file: path and headers."""
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        for name in ("a.txt", "b.txt"):
            sdk("admin").files.upload(place(volume, name), io.BytesIO(name.encode()))
        return lambda **more: self.url_of(raw, place(volume, "a.txt"), **more)

    @staticmethod
    def url_of(raw, path, expire_time=""):
        answer = raw("alice", "POST", f"/api/2.0/fs/create-download-url?path={path}&expire_time={expire_time}")
        assert answer.status_code == 200, answer.text
        parts = urlsplit(answer.json()["url"])
        headers = {one["name"]: one["value"] for one in answer.json()["headers"]}
        return parts.path + (f"?{parts.query}" if parts.query else ""), headers

    def test_it_is_for_one_request_of_one_caller(self, raw, signed, volume):
        path, headers = signed()
        assert raw(None, "GET", path, headers=headers).content == b"a.txt"
        assert raw(None, "GET", path).status_code == 401
        for method in ("PUT", "DELETE", "HEAD", "POST"):
            assert raw(None, method, path, headers=headers).status_code == 401, method
        for other in (path.replace("a.txt", "b.txt"), path + "?x=1", path.replace("/files/", "/directories/")):
            assert raw(None, "GET", other, headers=headers).status_code == 401, other
        # Somebody else's credential does not come along with it.
        assert raw("bob", "GET", path, headers=headers).status_code == 400
        broken = {SIGNATURE: headers[SIGNATURE][:-4] + "AAAA"}
        assert raw(None, "GET", path, headers=broken).status_code == 401

    def test_it_ends_with_the_grant_the_volume_and_the_time(self, raw, sdk, signed, volume):
        path, headers = signed(expire_time="2020-01-01T00:00:00Z")
        assert raw(None, "GET", path, headers=headers).status_code == 401
        path, headers = signed()
        grant(sdk("admin"), "volume", volume, "alice", remove=["READ_VOLUME"])
        assert raw(None, "GET", path, headers=headers).status_code in (403, 404)
        grant(sdk("admin"), "volume", volume, "alice", "READ_VOLUME")
        assert raw(None, "GET", path, headers=headers).status_code == 200
        # Another volume of the same name is another volume.
        sdk("admin").volumes.delete(volume)
        assert raw(None, "GET", path, headers=headers).status_code == 404
        name, schema, own = volume.split(".")
        sdk("admin").volumes.create(catalog_name=name, schema_name=schema, name=own, volume_type=catalog.VolumeType.MANAGED)
        sdk("admin").files.upload(place(volume, "a.txt"), io.BytesIO(b"new"))
        assert raw(None, "GET", path, headers=headers).status_code == 404

    def test_no_url_is_made_for_who_may_not(self, raw, volume, signed):
        assert raw("bob", "POST", f"/api/2.0/fs/create-download-url?path={place(volume, 'a.txt')}").status_code == 404


class TestParts:
    @pytest.fixture
    def begin(self, raw, sdk, volume):
        let(sdk, volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        let(sdk, volume, "bob", "READ_VOLUME", "WRITE_VOLUME")

        def begin(who="alice", name="up.bin", overwrite="true"):
            answer = raw(who, "POST", f"{FILES}{place(volume, name)}?action=initiate-upload&overwrite={overwrite}")
            assert answer.status_code == 200, answer.text
            return answer.json()["multipart_upload"]["session_token"]

        return begin

    @staticmethod
    def urls(raw, who, path, token, first=1, count=1):
        body = {"path": path, "session_token": token, "start_part_number": first, "count": count}
        return raw(who, "POST", "/api/2.0/fs/create-upload-part-urls", data=json.dumps(body))

    def test_a_session_is_its_callers_and_for_its_file(self, raw, volume, begin):
        token, path = begin(), place(volume, "up.bin")
        assert self.urls(raw, "alice", path, token).status_code == 200
        assert self.urls(raw, "bob", path, token).status_code == 400
        assert self.urls(raw, "alice", place(volume, "other.bin"), token).status_code == 400
        assert self.urls(raw, "alice", path, token[:-3] + "AAA").status_code == 400
        complete = f"{FILES}{path}?action=complete-upload&upload_type=multipart&session_token={token}"
        body = json.dumps({"parts": [{"part_number": 1, "etag": "00"}]})
        assert raw("bob", "POST", complete, data=body).status_code == 400
        assert raw("alice", "POST", complete, data=body).status_code == 400
        assert raw("bob", "PUT", f"/api/2.0/fs/upload-parts{path}?session_token={token}&part_number=1", data="x").status_code == 400

    def test_parts_are_joined_in_order_by_what_was_answered_for_them(self, raw, sdk, volume, begin):
        token, path = begin(), place(volume, "up.bin")
        etags = {}
        urls = self.urls(raw, "alice", path, token, 1, 2).json()["upload_part_urls"]
        for one, text in zip(reversed(urls), ("world", "hello ")):
            parts = urlsplit(one["url"])
            headers = {header["name"]: header["value"] for header in one["headers"]}
            answer = raw(None, "PUT", f"{parts.path}?{parts.query}", headers=headers, data=text)
            etags[one["part_number"]] = answer.headers["etag"]
            # Not for another part.
            other = parts.query.replace(f"part_number={one['part_number']}", "part_number=9")
            assert raw(None, "PUT", f"{parts.path}?{other}", headers=headers, data=text).status_code == 401
        with pytest.raises(NotFound):
            sdk("alice").files.get_metadata(path)
        complete = f"{FILES}{path}?action=complete-upload&upload_type=multipart&session_token={token}"
        for wrong in ([], [{"part_number": 1, "etag": etags[2]}], [{"part_number": 1, "etag": "../../x"}],
                      [{"part_number": 1, "etag": etags[1]}] * 2):
            assert raw("alice", "POST", complete, data=json.dumps({"parts": wrong})).status_code == 400, wrong
        named = [{"part_number": number, "etag": etags[number]} for number in (2, 1)]
        assert raw("alice", "POST", complete, data=json.dumps({"parts": named})).status_code == 200
        assert sdk("alice").files.download(path).contents.read() == b"hello world"

    def test_what_was_begun_ends_with_the_grant(self, raw, sdk, volume, begin):
        token, path = begin(), place(volume, "up.bin")
        one = self.urls(raw, "alice", path, token).json()["upload_part_urls"][0]
        parts, headers = urlsplit(one["url"]), {header["name"]: header["value"] for header in one["headers"]}
        grant(sdk("admin"), "volume", volume, "alice", remove=["WRITE_VOLUME"])
        assert raw(None, "PUT", f"{parts.path}?{parts.query}", headers=headers, data="x").status_code == 403
        complete = f"{FILES}{path}?action=complete-upload&upload_type=multipart&session_token={token}"
        assert raw("alice", "POST", complete, data=json.dumps({"parts": [{"part_number": 1, "etag": "00"}]})).status_code == 403

    def test_a_file_that_came_meanwhile_is_not_overwritten(self, raw, sdk, volume, begin):
        token, path = begin(overwrite="false"), place(volume, "up.bin")
        one = self.urls(raw, "alice", path, token).json()["upload_part_urls"][0]
        parts, headers = urlsplit(one["url"]), {header["name"]: header["value"] for header in one["headers"]}
        etag = raw(None, "PUT", f"{parts.path}?{parts.query}", headers=headers, data="late").headers["etag"]
        sdk("bob").files.upload(path, io.BytesIO(b"first"))
        complete = f"{FILES}{path}?action=complete-upload&upload_type=multipart&session_token={token}"
        answer = raw("alice", "POST", complete, data=json.dumps({"parts": [{"part_number": 1, "etag": etag}]}))
        assert (answer.status_code, answer.json()["error_code"]) == (409, "ALREADY_EXISTS")
        assert sdk("bob").files.download(path).contents.read() == b"first"
        abort = raw("alice", "POST", "/api/2.0/fs/create-abort-upload-url", data=json.dumps({"path": path, "session_token": token}))
        url = abort.json()["abort_upload_url"]
        parts, headers = urlsplit(url["url"]), {header["name"]: header["value"] for header in url["headers"]}
        assert raw(None, "DELETE", f"{parts.path}?{parts.query}", headers=headers).status_code == 200
