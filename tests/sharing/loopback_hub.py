"""A hub on loopback: the few calls by which models are pushed and loaded, as the documentation of the hub has them.

It keeps repositories in memory. A token names a user; `WRITERS` may write to the user's own repositories, `READERS` may
read them.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITERS = {"hf_writer": "acme", "hf_stranger": "elsewhere"}
READERS = {"hf_reader": "acme"}


@dataclass
class Repository:
    """One repository: its commits, each with all of its files."""

    private: bool = False
    gated: bool = False
    commits: list = field(default_factory=list)
    tags: dict = field(default_factory=dict)

    def commit(self, files, message="by hand"):
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(files)} {message}".encode()).hexdigest()
        self.commits.append((sha, dict(files), message))
        return sha

    def at(self, revision):
        """The commit of a revision; None where there is none."""
        revision = self.tags.get(revision, revision)
        if revision == "main":
            return self.commits[-1]
        return next((one for one in self.commits if one[0] == revision), None)


class Hub:
    """The server, and what it holds."""

    def __init__(self, *, large=()):
        self.repositories = {}
        self.large = set(large)
        """Names of files that are uploaded as large ones."""
        self.stored = {}
        """Large files by hash."""
        self.asked = []
        self.meanwhile = None
        """Called before a commit is taken."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def files(self, name, revision="main"):
        return self.repositories[name].at(revision)[1]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *given):
        pass

    def handle_any(self):
        parts = urlsplit(self.path)
        self.where, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self.chunks() if self.headers.get("transfer-encoding") else self.rfile.read(self.length())
        self.hub.asked.append(f"{self.command} {self.where}")
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.writer, self.reader = WRITERS.get(token), WRITERS.get(token) or READERS.get(token)
        self.token = token
        for pattern, act in self.ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {self.where}"):
                act(self, *found.groups())
                return
        self.fail(404)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def length(self):
        return int(self.headers.get("content-length") or 0)

    def chunks(self):
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def answer(self, content=b"", status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status, code="", message=""):
        headers = {"x_error_code": code} if code else {}
        self.answer({"error": message or code}, status, **headers, **({"x_error_message": message} if message else {}))

    def known(self, name, revision=None):
        """The repository that may be read; else the refusal was sent."""
        repository = self.hub.repositories.get(name)
        owner = name.partition("/")[0]
        if repository is None or (repository.private and self.reader != owner):
            self.fail(404 if self.reader else 401, "RepoNotFound", "Repository not found")
            return None
        if repository.gated and self.reader != owner:
            self.fail(403 if self.reader else 401, "GatedRepo", "Access is restricted")
            return None
        if revision is not None and repository.at(revision) is None:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository

    def writes(self, name):
        if self.writer == name.partition("/")[0]:
            return True
        self.fail(403 if self.reader else 401, message="You don't have the rights to create or change this")
        return False

    def root(self):
        self.answer()

    def whoami(self):
        if not self.reader:
            self.fail(401, message="Invalid credentials in Authorization header")
            return
        self.answer({"type": "user", "name": self.reader, "orgs": []})

    def validate(self):
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?\n)---\n", content, re.DOTALL)
        fine = match is not None and isinstance(yaml.safe_load(match[1]), dict)
        errors = [] if fine else [{"message": "no front matter"}]
        self.answer({"errors": errors, "warnings": []}, 200 if fine else 400)

    def create(self):
        given = json.loads(self.body)
        name = f"{given.get('organization') or self.writer}/{given['name']}"
        if not self.writes(name):
            return
        if name in self.hub.repositories:
            self.fail(409, message="You already created this model repo")
            return
        private = given.get("visibility") == "private" or bool(given.get("private"))
        self.hub.repositories[name] = made = Repository(private)
        made.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.answer({"url": f"{self.hub.url}/{name}", "name": name})

    def info(self, name, revision=None):
        if (repository := self.known(name, revision or "main")) is None:
            return
        sha, files, _ = repository.at(revision or "main")
        siblings = [{"rfilename": one} for one in files]
        about = {"private": repository.private, "gated": repository.gated, "tags": [], "downloads": 0, "likes": 0}
        self.answer({"id": name, "modelId": name, "sha": sha, "siblings": siblings, **about})

    def tree(self, name, revision):
        if (repository := self.known(name, revision)) is None:
            return
        entries = []
        for path, content in repository.at(revision)[1].items():
            oid = hashlib.sha1(content).hexdigest()
            entries.append({"type": "file", "path": path, "size": len(content), "oid": oid})
        self.answer(entries)

    def preupload(self, name, _revision):
        if self.known(name) is None or not self.writes(name):
            return
        files = []
        for one in json.loads(self.body)["files"]:
            mode = "lfs" if one["path"] in self.hub.large else "regular"
            content = self.hub.files(name).get(one["path"])
            blob = None if content is None else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": blob})
        self.answer({"files": files})

    def batch(self, name):
        if not self.writes(name):
            return
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]
        self.answer({"transfer": "basic", "objects": objects})

    def store(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.stored[oid] = self.body
        self.answer()

    def commit(self, name, _revision):
        if self.known(name) is None or not self.writes(name):
            return
        if self.hub.meanwhile:
            self.hub.meanwhile()
        repository = self.hub.repositories[name]
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = dict(repository.at("main")[1])
        message = ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", repository.at("main")[0]) != repository.at("main")[0]:
                    self.fail(412, message="A commit has happened since. Please refresh and try again.")
                    return
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        sha = repository.commit(files, message)
        self.answer({"success": True, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def resolve(self, name, revision, path):
        if (repository := self.known(name, revision)) is None:
            return
        sha, files, _ = repository.at(revision)
        if path not in files:
            self.fail(404, "EntryNotFound")
            return
        self.answer(files[path], etag=f'"{hashlib.sha1(files[path]).hexdigest()}"', x_repo_commit=sha)

    NAME = r"([^/]+/[^/]+)"
    ROUTES = (
        (r"HEAD /", root),
        (r"GET /api/whoami-v2", whoami),
        (r"POST /api/validate-yaml", validate),
        (r"POST /api/repos/create", create),
        (rf"GET /api/models/{NAME}", info),
        (rf"GET /api/models/{NAME}/revision/(.+)", info),
        (rf"GET /api/models/{NAME}/tree/(.+)", tree),
        (rf"POST /api/models/{NAME}/preupload/(.+)", preupload),
        (rf"POST /api/models/{NAME}/commit/(.+)", commit),
        (rf"POST /{NAME}\.git/info/lfs/objects/batch", batch),
        (r"PUT /large/(\w+)", store),
        (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", resolve),
    )
