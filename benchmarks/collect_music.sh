#!/bin/sh
# Collects music for `realtime-mer train` and the studies: game music from Debian packages, VGMIDI
# rendered with two soundfonts and EMOPIA with four pianos, with their labels (vgmidi=, emopia=).
# Installs nothing; downloads about 2 GB. Needs apt-get (Debian or Ubuntu) with current package lists.
# VGMIDI and EMOPIA also need fluidsynth, fluid-soundfont-gm and timgm6mb-soundfont, EMOPIA also
# musescore-general-soundfont.
#
#     benchmarks/collect_music.sh music /data/vgmidi /data/emopia
#
# writes music/games, music/vgmidi and music/emopia; give "" for a data set that you do not have. The
# packages wesnoth-1.16-music and warzone2100-music are left out on purpose: they are for trying the
# model on music that was not used for training.
set -eu
out=${1:?name the output folder}
vgmidi=${2:-}
emopia=${3:-}
mkdir -p "$out/games"
out=$(cd "$out" && pwd)

# render PIECE SOUND SOUNDFONT PROGRAM: render a MIDI file, on the program where it names none.
render() {
    [ -s "$2" ] && return
    for file in "/usr/share/sounds/sf2/$3.sf2" "/usr/share/sounds/sf3/$3.sf3"; do
        [ -f "$file" ] || continue
        echo "prog 0 $4" >"$out/program"
        timeout 120 fluidsynth -ni -q -g 0.5 -r 16000 -O s16 -T flac -F "$2" \
            -o player.reset-synth=0 -f "$out/program" "$file" "$1" >/dev/null 2>&1 && return
    done
    echo "cannot render $1 with $3" >&2
}

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

if [ -n "$vgmidi" ]; then
    mkdir -p "$out/vgmidi"
    cp "$vgmidi/measure_curves.csv" "$out/vgmidi/"
    for piece in "$vgmidi"/midi/*.mid; do
        name=$(basename "$piece" .mid)
        for soundfont in FluidR3_GM TimGM6mb; do
            render "$piece" "$out/vgmidi/$soundfont-$name.flac" "$soundfont" 0
        done
    done
fi

# The clips name no program: 0 is a grand piano, 1 a bright one. Each clip gets two of four pianos.
if [ -n "$emopia" ]; then
    mkdir -p "$out/emopia"
    cp "$emopia/labels.csv" "$out/emopia/"
    pianos="FluidR3_GM:0 TimGM6mb:1" others="TimGM6mb:0 MuseScore_General:0"
    for piece in "$emopia"/midi/*.mid; do
        name=$(basename "$piece" .mid)
        next=$others others=$pianos pianos=$next
        for piano in $pianos; do
            soundfont=${piano%:*} program=${piano#*:}
            render "$piece" "$out/emopia/${soundfont}_$program-$name.flac" "$soundfont" "$program"
        done
    done
fi
rm -f "$out/program"
