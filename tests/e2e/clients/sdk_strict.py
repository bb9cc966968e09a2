"""Every reply against the models of the official Python SDK: types and fields that must be there are checked.

  sdk_strict.py ACCOUNT_ID ZONE_ID      with CLOUDFLARE_BASE_URL and credentials in the environment

Calls each function that reads something of which an edge has one or more, and those that make and change what it knows.
"""

import json
import sys
import typing

import cloudflare
import pydantic
from cloudflare.types.zones import SettingGetResponse

account, zone = sys.argv[1:]
faults = []


def is_known(fault):
    """Where the models are not as the API is: rules of zones, and the last rule of a tunnel, which is for all hosts."""
    *path, last = fault["loc"]
    of_zone = path[-1:] == ["scope"] and last == "type" and fault["input"] == "zone"
    return of_zone or ("ingress" in path and last == "hostname" and fault["type"] == "missing")


class Strict(cloudflare.Cloudflare):
    """Notes what a model does not allow, and goes on as the SDK does by default."""

    def _process_response_data(self, *, data, cast_to, response):
        self._strict_response_validation = True
        try:
            return super()._process_response_data(data=data, cast_to=cast_to, response=response)
        except cloudflare.APIResponseValidationError as error:
            call = f"{response.request.method} {response.request.url.path}"
            wrong = [one for one in error.__cause__.errors() if not is_known(one)]
            faults.extend(f"{call}: {one['loc']}: {one['msg']}, not {one['input']!r}" for one in wrong)
        self._strict_response_validation = False
        return super()._process_response_data(data=data, cast_to=cast_to, response=response)


client = Strict(max_retries=0)


def models(union):
    """The models of a union, whatever is around it."""
    if isinstance(union, type) and issubclass(union, pydantic.BaseModel):
        return [union]
    return [model for part in typing.get_args(union) for model in models(part)]


def literal(annotation):
    """The one text of a field that has one, or none."""
    first = typing.get_args(annotation)[0]
    return first if isinstance(first, str) else literal(first)



def listed(page):
    found = list(page)
    assert found, page
    return found


# What is there.
listed(client.accounts.list())
assert client.accounts.get(account_id=account).id == account
members = listed(client.accounts.members.list(account_id=account))
client.accounts.members.get(members[0].id, account_id=account)
roles = listed(client.accounts.roles.list(account_id=account))
client.accounts.roles.get(roles[0].id, account_id=account)
listed(client.accounts.tokens.permission_groups.list(account_id=account))
listed(client.user.tokens.permission_groups.list())
listed(client.memberships.list())
client.user.get()
client.user.tokens.verify()
client.ips.list()
listed(client.zones.list())
client.zones.get(zone_id=zone)
listed(client.zones.plans.list(zone_id=zone))
# All settings, by the model of each: the one that its id says.
named = {literal(model.model_fields["id"].annotation): model for model in models(SettingGetResponse)}
settings = client.get(f"/zones/{zone}/settings", cast_to=object)["result"]
assert len(settings) > 50, settings
for setting in settings:
    name = setting["id"]
    # Two are of before this SDK, and one is ours.
    if name in ["minify", "mobile_redirect", "origin_h2c"]:
        continue
    assert client.zones.settings.get(name, zone_id=zone).id == name
    try:
        named[name].model_validate_json(json.dumps(setting), strict=True)
    except pydantic.ValidationError as error:
        faults.extend(f"setting {name}: {one['loc']}: {one['msg']}, not {one['input']!r}" for one in error.errors())
    if setting["editable"]:
        # As it is, and as the SDK sends it.
        assert client.zones.settings.edit(name, zone_id=zone, value=setting["value"]).id == name
client.zones.settings.edit("ssl", zone_id=zone, value="full")
client.dns.dnssec.get(zone_id=zone)
assert client.dns.dnssec.edit(zone_id=zone, status="active").status == "pending"
assert client.dns.dnssec.get(zone_id=zone).flags == 257
client.dns.dnssec.edit(zone_id=zone, status="disabled")
client.zones.edit(zone_id=zone, paused=True)
client.zones.edit(zone_id=zone, paused=False)

# Records, each kind.
made = [
    client.dns.records.create(zone_id=zone, name="strict", ttl=1, **body)
    for body in [
        {"type": "A", "content": "192.0.2.1", "comment": "a comment", "tags": ["env:test"]},
        {"type": "AAAA", "content": "2001:db8::1"},
        {"type": "MX", "content": "mail.example", "priority": 10},
        {"type": "TXT", "content": '"text"'},
        {"type": "CAA", "data": {"flags": 0, "tag": "issue", "value": "ca.example"}},
        {"type": "SRV", "data": {"priority": 1, "weight": 2, "port": 5060, "target": "sip.example"}},
    ]
]
made.append(client.dns.records.create(zone_id=zone, name="a.strict", ttl=1, type="CNAME", content="b.example"))
listed(client.dns.records.list(zone_id=zone))
for record in made:
    client.dns.records.get(record.id, zone_id=zone)
client.dns.records.edit(made[0].id, zone_id=zone, name="strict", type="A", content="192.0.2.2", ttl=60)
client.dns.records.update(made[0].id, zone_id=zone, name="strict", type="A", content="192.0.2.3", ttl=60)

# Access rules, in all three places.
body = {"mode": "block", "configuration": {"target": "ip", "value": "192.0.2.7"}}
for place in [{"account_id": account}, {"zone_id": zone}]:
    rule = client.firewall.access_rules.create(**place, **body)
    listed(client.firewall.access_rules.list(**place))
    client.firewall.access_rules.get(rule.id, **place)
    client.firewall.access_rules.edit(rule.id, **place, mode="whitelist", configuration=body["configuration"])
    client.firewall.access_rules.delete(rule.id, **place)

# Applications.
app = client.spectrum.apps.create(
    zone_id=zone,
    protocol="tcp/22",
    dns={"type": "CNAME", "name": "ssh." + client.zones.get(zone_id=zone).name},
    origin_direct=["tcp://192.0.2.1:22"],
    ip_firewall=True,
    edge_ips={"type": "dynamic", "connectivity": "all"},
)
listed(client.spectrum.apps.list(zone_id=zone))
client.spectrum.apps.get(app.id, zone_id=zone)
client.spectrum.apps.delete(app.id, zone_id=zone)

# Tunnels.
tunnels = client.zero_trust.tunnels.cloudflared
tunnel = tunnels.create(account_id=account, name="strict", config_src="cloudflare")
listed(tunnels.list(account_id=account))
tunnels.get(tunnel.id, account_id=account)
tunnels.edit(tunnel.id, account_id=account, name="stricter")
tunnels.configurations.update(tunnel.id, account_id=account, config={"ingress": [{"service": "http_status:404"}]})
tunnels.configurations.get(tunnel.id, account_id=account)
tunnels.token.get(tunnel.id, account_id=account)
list(tunnels.connections.get(tunnel.id, account_id=account))
tunnels.delete(tunnel.id, account_id=account)

# Tokens, of the user and of the account.
policies = [
    {
        "effect": "allow",
        "permission_groups": [{"id": one.id} for one in client.user.tokens.permission_groups.list() if one.name == "DNS Write"],
        "resources": {f"com.cloudflare.api.account.zone.{zone}": "*"},
    }
]
for tokens, place in [(client.user.tokens, {}), (client.accounts.tokens, {"account_id": account})]:
    token = tokens.create(**place, name="strict", policies=policies, condition={"request_ip": {"in": ["192.0.2.0/24"]}})
    assert token.value, token
    listed(tokens.list(**place))
    tokens.get(token.id, **place)
    tokens.update(token.id, **place, name="stricter", policies=policies)
    assert tokens.value.update(token.id, **place)
    tokens.delete(token.id, **place)

for record in made:
    client.dns.records.delete(record.id, zone_id=zone)
for logs in [client.audit_logs.list(account_id=account), client.user.audit_logs.list()]:
    listed(logs)
if faults:
    sys.exit("\n".join(faults))
print("every reply is as the models say")
