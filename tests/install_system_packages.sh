#!/usr/bin/env bash
# Installs the system packages that some tests need (a sound server, a browser, ffmpeg, Node.js, an MQTT broker, JACK,
# nginx) if that is possible without a password: on Debian or a derivative, as root or with passwordless sudo.
# Otherwise those tests are skipped with a reason.
set -u

# Where nginx is, and ordinary users do not look.
PATH=$PATH:/usr/sbin

declare -A package_of=(
  [pulseaudio]=pulseaudio [paplay]=pulseaudio-utils [ffmpeg]=ffmpeg [chromium]=chromium
  [node]=nodejs [nginx]=nginx-light [tmux]=tmux [mosquitto]=mosquitto [jackd]=jackd2
)
missing=()
for command in "${!package_of[@]}"; do
  command -v "$command" > /dev/null || missing+=("${package_of[$command]}")
done
ldconfig -p 2> /dev/null | grep -q 'libportaudio\.so\.2' || missing+=(libportaudio2)
find /usr/lib -name 'libasound_module_pcm_pulse.so' 2> /dev/null | grep -q . \
  || missing+=(libasound2-plugins)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get > /dev/null; then
  echo "not installed, tests that need them will be skipped: ${missing[*]}" >&2
  exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2> /dev/null; then
    echo "not installed (no root), tests that need them will be skipped: ${missing[*]}" >&2
    exit 0
  fi
  as_root=(sudo -n)
fi
echo "installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq \
  && "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null \
  || echo "installation failed, tests that need them will be skipped: ${missing[*]}" >&2
exit 0
