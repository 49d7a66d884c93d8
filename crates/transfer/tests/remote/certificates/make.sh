#!/bin/sh
# Makes the certificates of the tests again: a CA, a server that is good for a hundred
# years, one whose time is over, one whose time has not come, and a CA that signed none.
set -eu
cd "$(dirname "$0")"
new() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
new ca; new stranger; new server
for ca in ca stranger; do
    openssl req -x509 -new -key $ca.key -subj "/CN=goldring test $ca" -days 36500 -out $ca.pem
done
openssl req -new -key server.key -subj /CN=localhost -out server.csr
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.0.1.253\n' >extensions
rm -rf issued; mkdir issued; touch issued/index; echo 01 >issued/serial
cat >openssl.conf <<END
[ca]
default_ca=x
[x]
dir=issued
database=issued/index
serial=issued/serial
new_certs_dir=issued
default_md=sha256
policy=p
copy_extensions=none
unique_subject=no
[p]
commonName=supplied
END
sign() { openssl ca -batch -config openssl.conf -cert ca.pem -keyfile ca.key -in server.csr -extfile extensions -startdate "$2" -enddate "$3" -notext -out "$1.pem"; }
sign good 20200101000000Z 21200101000000Z
sign expired 20100101000000Z 20110101000000Z
sign future 21100101000000Z 21200101000000Z
printf 'subjectAltName=DNS:other.invalid\n' >extensions
sign other 20200101000000Z 21200101000000Z
rm -rf issued extensions openssl.conf server.csr ca.key stranger.key
