"""The official Python SDK against an edge: zones, records and tunnels, made, listed, changed and deleted.

  sdk_round_trip.py ACCOUNT_ID      with CLOUDFLARE_BASE_URL and credentials in the environment
"""

import base64
import hashlib
import os
import sys

import cloudflare

(account,) = sys.argv[1:]
client = cloudflare.Cloudflare(max_retries=0)


def refused(call, status, code):
    try:
        call()
    except cloudflare.APIStatusError as error:
        found = (error.status_code, error.body["errors"][0]["code"])
        assert found == (status, code), found
    else:
        raise AssertionError(f"not refused with {code}")


# Accounts, the user, tokens.
assert account in [one.id for one in client.accounts.list()]
assert client.user.get().id
assert client.ips.list().ipv4_cidrs

# Zones.
zone = client.zones.create(account={"id": account}, name="sdk.example", type="full")
assert (zone.name, zone.status) == ("sdk.example", "active"), zone
assert [one.id for one in client.zones.list(name="sdk.example")] == [zone.id]
assert client.zones.get(zone_id=zone.id).name_servers
refused(lambda: client.zones.create(account={"id": account}, name="sdk.example"), 400, 1061)
setting = client.zones.settings.edit("ipv6", zone_id=zone.id, value="off")
assert setting.value == "on", setting

# Records: each kind is made, found by the iterator over pages, changed by PATCH and PUT, and deleted.
made = [
    client.dns.records.create(zone_id=zone.id, type="A", name="www.sdk.example", content="192.0.2.1", ttl=300),
    client.dns.records.create(zone_id=zone.id, type="AAAA", name="www.sdk.example", content="2001:DB8::1", ttl=1),
    client.dns.records.create(zone_id=zone.id, type="CNAME", name="alias", content="www.sdk.example", ttl=1),
    client.dns.records.create(zone_id=zone.id, type="MX", name="@", content="mail.sdk.example", priority=10, ttl=1),
    client.dns.records.create(zone_id=zone.id, type="TXT", name="@", content='"v=spf1 -all"', ttl=1),
    client.dns.records.create(zone_id=zone.id, type="NS", name="sub", content="ns1.example.org", ttl=1),
    client.dns.records.create(
        zone_id=zone.id,
        type="SRV",
        name="_sip._tcp.sdk.example",
        ttl=1,
        data={"priority": 1, "weight": 2, "port": 5060, "target": "sip.sdk.example"},
    ),
    client.dns.records.create(
        zone_id=zone.id,
        type="CAA",
        name="@",
        ttl=1,
        data={"flags": 0, "tag": "issue", "value": "ca.example.net"},
    ),
]
digest = hashlib.sha256(b"").hexdigest()
place = {"lat_degrees": 31, "lat_minutes": 58, "lat_seconds": 52.1, "lat_direction": "S", "long_degrees": 115}
place |= {"long_minutes": 49, "long_seconds": 11.7, "long_direction": "E", "altitude": 20, "size": 10}
place |= {"precision_horz": 10, "precision_vert": 2}
by_field = {
    "CERT": {"type": 1, "key_tag": 12345, "algorithm": 8, "certificate": "bDts/tc="},
    "DNSKEY": {"flags": 257, "protocol": 3, "algorithm": 15, "public_key": "bDts/tc="},
    "DS": {"key_tag": 60485, "algorithm": 13, "digest_type": 2, "digest": digest},
    "HTTPS": {"priority": 1, "target": ".", "value": 'alpn="h3,h2" ipv4hint="192.0.2.1"'},
    "LOC": place,
    "NAPTR": {"order": 1, "preference": 2, "flags": "U", "service": "E2U+sip", "regex": "!.*!a!", "replacement": "."},
    "SMIMEA": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": digest},
    "SSHFP": {"algorithm": 4, "type": 2, "fingerprint": digest},
    "SVCB": {"priority": 1, "target": "svc.example.net.", "value": 'port="853"'},
    "TLSA": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": digest},
    "URI": {"weight": 20, "target": "https://example.com/"},
}
for kind, data in by_field.items():
    # DS says how to trust the zone that begins where NS is.
    more = {"name": "sub" if kind == "DS" else "typed", "ttl": 1} | ({"priority": 10} if kind == "URI" else {})
    one = client.dns.records.create(zone_id=zone.id, type=kind, data=data, **more)
    assert one.data.to_dict() == data, one
    # What is read is written back as it is.
    again = client.dns.records.update(one.id, zone_id=zone.id, type=kind, data=one.data.to_dict(), **more)
    assert (again.content, again.modified_on) == (one.content, one.modified_on), again
    made.append(one)
for kind, content in {"PTR": "host.sdk.example", "OPENPGPKEY": "bDts/tc="}.items():
    one = client.dns.records.create(zone_id=zone.id, type=kind, name="typed", content=content, ttl=1)
    assert one.content == content, one
    made.append(one)
assert made[1].content == "2001:db8::1", made[1]
assert made[6].data.port == 5060, made[6]
listed = list(client.dns.records.list(zone_id=zone.id, per_page=5))
assert {one.id for one in made} <= {one.id for one in listed}, listed
found = list(client.dns.records.list(zone_id=zone.id, type="A", name={"exact": "www.sdk.example"}))
assert [one.id for one in found] == [made[0].id], found

edited = client.dns.records.edit(made[0].id, zone_id=zone.id, type="A", name="www", content="192.0.2.2", ttl=300)
assert (edited.content, edited.ttl) == ("192.0.2.2", 300), edited
updated = client.dns.records.update(made[0].id, zone_id=zone.id, type="A", name="www", content="192.0.2.3", ttl=1)
assert (updated.content, updated.ttl) == ("192.0.2.3", 1), updated
assert client.dns.records.get(made[0].id, zone_id=zone.id).content == "192.0.2.3"
refused(
    lambda: client.dns.records.create(zone_id=zone.id, type="A", name="www", content="192.0.2.3", ttl=1), 400, 81058
)
# The last first: without its NS records a DS record would be alone.
for one in reversed(made):
    assert client.dns.records.delete(one.id, zone_id=zone.id).id == one.id
refused(lambda: client.dns.records.get(made[0].id, zone_id=zone.id), 404, 81044)

# Records as a file.
taken = client.dns.records.import_(zone_id=zone.id, file="file 300 IN A 192.0.2.9\nfile IN TXT two", proxied="true")
assert (taken.recs_added, taken.total_records_parsed) == (2, 2), taken
assert "file.sdk.example.\t1\tIN\tA\t192.0.2.9 ; cf_tags=cf-proxied:true\n" in client.dns.records.export(zone_id=zone.id)
refused(lambda: client.dns.records.import_(zone_id=zone.id, file="file A x"), 400, 9005)
for one in client.dns.records.list(zone_id=zone.id, name={"startswith": "file"}):
    client.dns.records.delete(one.id, zone_id=zone.id)

# Tunnels.
tunnels = client.zero_trust.tunnels.cloudflared
secret = base64.b64encode(os.urandom(32)).decode()
tunnel = tunnels.create(account_id=account, name="sdk", config_src="cloudflare", tunnel_secret=secret)
assert tunnel.name == "sdk", tunnel
assert [one.id for one in tunnels.list(account_id=account, name="sdk", is_deleted=False)] == [tunnel.id]
assert tunnels.get(tunnel.id, account_id=account).status == "inactive"
assert tunnels.token.get(tunnel.id, account_id=account)
configuration = {"ingress": [{"hostname": "t.sdk.example", "service": "http://localhost:80"}, {"service": "http_status:404"}]}
tunnels.configurations.update(tunnel.id, account_id=account, config=configuration)
kept = tunnels.configurations.get(tunnel.id, account_id=account)
assert kept.config.ingress[0].hostname == "t.sdk.example", kept
assert tunnels.edit(tunnel.id, account_id=account, name="renamed").name == "renamed"
assert list(tunnels.connections.get(tunnel.id, account_id=account)) == []
tunnels.delete(tunnel.id, account_id=account)
assert [one.id for one in tunnels.list(account_id=account, name="renamed", is_deleted=False)] == []

client.zones.delete(zone_id=zone.id)
assert list(client.zones.list(name="sdk.example")) == []
print("round trip done")
