#!/bin/sh
# Collects music for `realtime-mer train`: game music from Debian packages (--unlabelled), and VGMIDI
# rendered with two soundfonts, with its labels (--auxiliary vgmidi=). Installs nothing; downloads
# about 2 GB. Needs apt-get (Debian or Ubuntu) with current package lists; VGMIDI also needs
# fluidsynth, fluid-soundfont-gm and timgm6mb-soundfont.
#
#     benchmarks/collect_music.sh music /data/vgmidi
#
# writes music/games and music/vgmidi. The packages wesnoth-1.16-music and warzone2100-music are left
# out on purpose: they are for trying the model on music that was not used for training.
set -eu
out=${1:?name the output folder}
vgmidi=${2:-}
mkdir -p "$out/games" "$out/vgmidi"
out=$(cd "$out" && pwd)

packages="asc-music asc-data berusky2-data blobwars-data boswars-data briquolo-data btanks-data
caveexpress-data colobot-common-sounds drascula-music edgar-data endless-sky-data
extremetuxracer-data fillets-ng-data flare-game freeorion-data fretsonfire-songs-muldjord
fretsonfire-songs-sectoid frozen-bubble-data glob2-data hedgewars-data hyperrogue-music
lincity-ng-data lugaru-data megaglest-data naev-data neverball-data openclonk-data performous
planetblupi-music-ogg powermanga-data pushover-data scorched3d-data singularity-music
starfighter-data supertux-data supertuxkart-data tecnoballz-data tomatoes-data torcs-data
trackballs-data unknown-horizons widelands-data xmoto-data"
cd "$out/games"
for package in $packages; do
    [ -d "$package" ] && continue
    apt-get download "$package" >/dev/null 2>&1 || { echo "cannot download: $package" >&2; continue; }
    mkdir "$package"
    dpkg-deb --fsys-tarfile "$package"_*.deb |
        tar -x -C "$package" --wildcards --no-anchored '*.ogg' '*.mp3' '*.opus' '*.flac' 2>/dev/null ||
        echo "no music in $package" >&2
    rm -f "$package"_*.deb
done

[ -n "$vgmidi" ] || exit 0
cp "$vgmidi/measure_curves.csv" "$out/vgmidi/"
cd "$vgmidi/midi"
for piece in *.mid; do
    for soundfont in FluidR3_GM TimGM6mb; do
        sound="$out/vgmidi/$soundfont-${piece%.mid}.flac"
        [ -s "$sound" ] && continue
        timeout 120 fluidsynth -ni -q -g 0.5 -r 16000 -O s16 -T flac -F "$sound" \
            "/usr/share/sounds/sf2/$soundfont.sf2" "$piece" >/dev/null 2>&1 ||
            echo "cannot render $piece with $soundfont" >&2
    done
done
