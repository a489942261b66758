#!/usr/bin/env bash
# Runs the tests many times on a loaded machine and lists each test that ever failed.
#   tools/repeat_tests.sh 20                        all of the gate's tests, 20 times
#   tools/repeat_tests.sh 20 tests/cli -m slow      pytest's own arguments choose others
# Meanwhile two loops keep two cores busy. The exit status is 1 if anything failed.
times=${1:?expected how many times: tools/repeat_tests.sh N [pytest arguments]}
shift
case $times in
  *[!0-9]* | 0*) echo "repeat_tests: error: expected a number of at least 1, received $times" >&2; exit 2 ;;
esac
arguments=("$@")
EXTRAS='[test,jax,docs]' source "$(dirname "$0")/environment.sh"
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES--1}
[ ${#arguments[@]} -gt 0 ] || arguments=(-m "not release" --doctest-modules tests lbkeras)
workers=$(python -c 'import os; print(min(os.cpu_count(), 8) + 1)')
reports=$(mktemp -d)
loops=()
finish() {
  kill "${loops[@]}" 2> /dev/null
  rm -rf "$reports"
}
trap finish EXIT
for _ in 1 2; do
  while :; do :; done &
  loops+=($!)
done
set +e
for ((i = 1; i <= times; i++)); do
  begin=$SECONDS
  python -m pytest -q -n "$workers" --dist loadfile --junitxml="$reports/$i.xml" "${arguments[@]}" > "$reports/$i.log" 2>&1
  status=$?
  echo "$i of $times: $(tail -1 "$reports/$i.log") ($((SECONDS - begin)) s)"
  if [ $status -ne 0 ]; then
    echo $i >> "$reports/failed"
    grep -E '^(FAILED|ERROR)' "$reports/$i.log" || tail -20 "$reports/$i.log"
  fi
done
python - "$reports" "$times" <<'PYTHON'
import collections, glob, sys
import xml.etree.ElementTree as xml

folder, times = sys.argv[1:]
failed = collections.Counter()
for path in glob.glob(f"{folder}/*.xml"):
    for case in xml.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed[f"{case.get('classname')}::{case.get('name')}"] += 1
for name, count in failed.most_common():
    print(f"failed {count} of {times} times: {name}")
if not failed:
    print(f"no test failed in {times} runs")
PYTHON
[ ! -e "$reports/failed" ]
