#!/usr/bin/env bash
# docs/tour/record.sh tour|test plays commands of the README in a terminal and
# records them as docs/tour/tour.cast or test.cast: asciicast v2, lines of JSON
# that asciinema plays. tour is its first command, and "A tour of two minutes",
# each command as it stands there; test is its second one, make test. It needs Go,
# Python 3.11 and pip, tour kcat besides, and test what make test needs.
set -euo pipefail
cd "$(dirname "$0")/../.."

asciinema=asciinema==2.4.0
columns=120 rows=36

# commands prints what a section of the README types, a line each.
commands() {
	awk -v section="## $1" '
		/^## / { inside = ($0 == section) }
		inside && /^\$ / { print substr($0, 3) }' README.md
}

say() { printf '\e[2m# %s\e[0m\n' "$*"; }

types() {
	printf '\e[1;32m$\e[0m '
	sleep 0.7
	printf '%s\n' "$1"
	sleep 0.7
}

play_test() {
	say "The tests, those on a real Apache Kafka included."
	types "make test"
	(cd "$repository" && make test)
}

play_tour() {
	local command dev='' log
	log=$PWD/dev.log
	say "Go is all that is needed: a broker, a gateway and the worker in one process, sample traffic, and a balance."
	command="go run ./cmd/closeorder dev --requests 300 --exit"
	types "$command"
	(cd "$repository" && $command)
	say "The tour of two minutes."
	while IFS= read -r command; do
		case $command in
		"go build -o closeorder ./cmd/closeorder")
			types "$command"
			(cd "$repository" && go build -o "$OLDPWD/closeorder" ./cmd/closeorder)
			;;
		"./closeorder dev "*)
			types "$command"
			$command >"$log" 2>&1 &
			dev=$!
			until grep -q '^Stop with' "$log"; do sleep 0.1; done
			cat "$log"
			: >"$log"
			say "In another terminal:"
			;;
		"cat orders.csv")
			printf 'out_trade_no,reason\nT3,payment_failed\nPAID3,payment_timeout\nLIMIT3,payment_timeout\n' >orders.csv
			types "$command"
			cat orders.csv
			;;
		*)
			types "$command"
			bash -c "$command" || [[ $? == 1 ]] # request --wait: a failed outcome
			;;
		esac
		sleep 0.5
	done < <(cd "$repository" && commands "A tour of two minutes")
	say "Ctrl-C in the first terminal:"
	kill -INT "$dev"
	wait "$dev"
	tail -n 7 "$log"
}

if [[ ${1:-} == --play ]]; then
	repository=$PWD
	cd "$3"
	"play_$2"
	exit
fi

what=${1:-}
case $what in
tour) title="closeorder: a tour of two minutes" tools=(go python3 kcat) ;;
test) title="closeorder: its tests" tools=(go python3 make) ;;
*)
	echo "docs/tour/record.sh tour, or docs/tour/record.sh test" >&2
	exit 2
	;;
esac
for tool in "${tools[@]}"; do
	command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "$asciinema"
mkdir "$work/play"
go build -o /dev/null ./cmd/closeorder # how long it takes to compile is none of the tour
TERM=xterm-256color "$work/venv/bin/asciinema" rec --quiet --overwrite --idle-time-limit 2 \
	--cols $columns --rows $rows --title "$title" \
	--command "bash docs/tour/record.sh --play $what $work/play" "$work/$what.cast"
# A session that failed is none to show: asciinema ends with 0 all the same.
case $what in
tour) grep -q '8 = 3 closed + 3 paid + 2 failed' "$work/tour.cast" ;;
test) ! grep -q 'FAIL' "$work/test.cast" ;;
esac || { echo "the session failed: $(tail -n 1 "$work/$what.cast")" >&2; exit 1; }
mv "$work/$what.cast" "docs/tour/$what.cast"
echo "docs/tour/$what.cast: asciinema play docs/tour/$what.cast"
