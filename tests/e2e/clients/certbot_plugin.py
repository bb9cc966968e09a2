"""certbot's own DNS plugin against an edge: it finds the zone of a name, puts a challenge there, and takes it away.

  certbot_plugin.py ZONE OTHER_ZONE      with CLOUDFLARE_BASE_URL and EDGE_TOKEN, which is for the first zone only
"""

import os
import sys

import cloudflare
from certbot import errors
from certbot_dns_cloudflare._internal.dns_cloudflare import _CloudflareClient

zone, other = sys.argv[1:]
token = os.environ["EDGE_TOKEN"]
client = _CloudflareClient(api_token=token)
name = f"_acme-challenge.deep.www.{zone}"


def texts():
    sdk = cloudflare.Cloudflare(api_token=token, max_retries=0)
    (found,) = list(sdk.zones.list(name=zone))
    return sorted(one.content.strip('"') for one in sdk.dns.records.list(zone_id=found.id, type="TXT"))


# A name and its wildcard have the same owner, and one run may ask for the same twice.
for text in ["first", "second", "second"]:
    client.add_txt_record(f"deep.www.{zone}", name, text, 120)
assert texts() == ["first", "second"], texts()
for text in ["first", "second"]:
    client.del_txt_record(f"deep.www.{zone}", name, text)
assert texts() == [], texts()

try:
    client.add_txt_record(f"www.{other}", f"_acme-challenge.www.{other}", "text", 120)
except errors.PluginError as error:
    assert "Unable to determine zone_id" in str(error), error
else:
    raise AssertionError(f"a challenge in {other}")
print("certbot done")
