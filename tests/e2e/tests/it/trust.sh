# The stores of a machine and of two users' browsers, in a mount namespace of their own: what of them believes an edge, before
# and after each of the commands. Arguments: the program, the edge's data, its HTTPS address, a host, a folder.
set -e
program=$1 data=$2 https=$3 host=$4
cd "$5"
mount -t tmpfs none /usr/local/share/ca-certificates
cp -a /etc/ssl . && mount --bind ssl /etc/ssl
{ cat /etc/passwd; echo "visitor:x:12345:12345::$PWD/visitor:/bin/sh"; } > passwd && mount --bind passwd /etc/passwd
for user in root visitor; do
    for profile in .pki/nssdb .mozilla/firefox/a.default; do
        mkdir -p $user/$profile
        certutil -N --empty-password -d sql:$user/$profile
    done
done
chown -R 12345:12345 visitor
# The user must be able to get there.
chmod 755 . ..
export HOME=$PWD/root
openssl s_client -connect $https -servername $host < /dev/null 2> /dev/null | openssl x509 > leaf.pem

seen() {
    believe=
    curl -sS -o page --connect-to "::$https" "https://$host/" 2> why && believe="curl"
    for database in root/.pki/nssdb root/.mozilla/firefox/a.default visitor/.pki/nssdb visitor/.mozilla/firefox/a.default; do
        vfychain -d sql:$database -u 1 -a leaf.pem > out 2>&1 && believe="$believe $database"
    done
    echo "$1: $believe"
}

seen before
$program trust --data "$data" > out.txt
seen root
SUDO_UID=12345 SUDO_GID=12345 SUDO_USER=visitor $program trust --data "$data" > out.txt
seen sudo
$program trust --data "$data" > out.txt
seen again
$program trust --remove > out.txt
seen removed
SUDO_UID=12345 SUDO_GID=12345 SUDO_USER=visitor $program trust --remove > out.txt
seen gone
# Nothing of ours is left, and all else is as it was.
find /usr/local/share/ca-certificates /etc/ssl/certs -name '*bartizan*'
find visitor ! -uid 12345
$program trust --browsers-only --data "$data" > out.txt
seen browsers
