package linepay

import (
	"regexp"
	"slices"
	"testing"
)

// overview is the result code table of developers-pay.line.me/online-api-v3; beyond are codes that occur without being in it.
var (
	overview = []string{
		"0000", "0110", "0121", "0122", "0123", "1101", "1102", "1104", "1105", "1106", "1110", "1124", "1141", "1142", "1145", "1150", "1152", "1153",
		"1154", "1155", "1159", "1163", "1164", "1165", "1169", "1170", "1172", "1177", "1178", "1179", "1180", "1183", "1184", "1190", "1193", "1194",
		"1198", "1199", "1280", "1281", "1282", "1283", "1284", "1285", "1286", "1287", "1288", "1289", "1290", "1291", "1292", "1293", "1294", "1295",
		"1296", "1298", "190X", "2101", "2102", "9000",
	}
	beyond = []string{"1133", "1197", "1264", "1999", "2024", "2042", "2103", "2104"}
)

func TestCodesHoldsLinePaysWholeTable(t *testing.T) {
	t.Parallel()
	var have []string
	for _, row := range Codes() {
		have = append(have, row.Code)
		if row.Meaning == "" {
			t.Errorf("%s has no meaning", row.Code)
		}
	}
	want := slices.Sorted(slices.Values(append(slices.Clone(overview), beyond...)))
	if !slices.Equal(have, want) {
		t.Errorf("the table holds, in order,\n%v, want\n%v", have, want)
	}
	if path := recorded(t, "online-api-overview.txt"); path != "" {
		for _, match := range regexp.MustCompile(`(?m)^([0-9]{3}[0-9X])\S`).FindAllSubmatch(readFile(t, path), -1) {
			if !slices.Contains(have, string(match[1])) {
				t.Errorf("%s of LINE Pay's overview is missing", match[1])
			}
		}
	}
}

func TestUnknownIsTheZeroVerdict(t *testing.T) {
	t.Parallel()
	if Verdict(0) != Unknown {
		t.Error("the zero value of Verdict must be Unknown")
	}
	if (&Error{}).Verdict != Unknown {
		t.Error("an empty Error must be of unknown outcome")
	}
}

// verdictsByOperation is written down independently of the table: code by code, operations in the order of Operations().
var verdictsByOperation = map[string]string{
	//       request  check    confirm  capture  void     refund   details  p-check  p-pay    p-expire
	"0000": "done     done     done     done     done     done     done     done     done     done",
	"0110": "unknown  done     unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
	"0121": "unknown  done     unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
	"0122": "unknown  done     unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
	"0123": "unknown  done     unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
	"1104": "channel  channel  channel  channel  channel  channel  channel  channel  channel  channel",
	"1105": "channel  channel  channel  channel  channel  channel  channel  channel  channel  channel",
	"1106": "channel  channel  channel  channel  channel  channel  channel  channel  channel  channel",
	"1141": "refused  refused  refused  refused  refused  refused  refused  refused  refused  already",
	"1142": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1145": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1150": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1152": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1153": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1155": "refused  refused  refused  already  refused  refused  refused  refused  refused  refused",
	"1159": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1164": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1165": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1169": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1172": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1178": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1179": "refused  refused  refused  already  refused  refused  refused  refused  refused  refused",
	"1180": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1190": "refused  refused  refused  refused  refused  refused  refused  refused  refused  already",
	"1193": "refused  refused  refused  refused  refused  refused  refused  refused  refused  already",
	"1194": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"1197": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1198": "already  unknown  already  already  already  already  unknown  unknown  already  already",
	"1199": "unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
	"1280": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1281": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1282": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  already",
	"1287": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  already",
	"1288": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1289": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1290": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  already",
	"1295": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  already",
	"1296": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1298": "refused  refused  refused  unknown  unknown  unknown  refused  refused  refused  unknown",
	"1900": "retry    retry    retry    retry    retry    retry    retry    retry    retry    retry",
	"1909": "retry    retry    retry    retry    retry    retry    retry    retry    retry    retry",
	"1999": "retry    retry    retry    retry    retry    retry    retry    retry    retry    retry",
	"2101": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"2103": "refused  refused  refused  refused  refused  refused  refused  refused  refused  refused",
	"9000": "unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown  unknown",
}

func TestClassifyJudgesByCodeAndOperation(t *testing.T) {
	t.Parallel()
	words := regexp.MustCompile(`\S+`)
	for code, row := range verdictsByOperation {
		want := words.FindAllString(row, -1)
		for i, op := range Operations() {
			if got := Classify(op, code); got.String() != want[i] {
				t.Errorf("%s on %s is %s, want %s", code, op, got, want[i])
			}
		}
	}
}

func TestClassifyDoubtsCodesNeverSeen(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"", "0", "000", "00000", "0001", "1297", "1910", "190", "190x", "190A", "19000", "5555", "٠٠٠٠", " 0000", "success"} {
		for _, op := range Operations() {
			if got := Classify(op, code); got != Unknown {
				t.Errorf("%q on %s is %s, want unknown", code, op, got)
			}
		}
	}
}

func TestCodesCannotBeChangedByItsCallers(t *testing.T) {
	t.Parallel()
	for _, row := range Codes() {
		row.Verdict = Done
		if row.Per != nil {
			row.Per[Capture] = Done
		}
	}
	if got := Classify(Capture, "1280"); got != Unknown {
		t.Errorf("1280 on capture became %s", got)
	}
}

func TestOperationsKnowWhatTheyMove(t *testing.T) {
	t.Parallel()
	for _, op := range Operations() {
		if op.Reads() && op.MovesMoney() {
			t.Errorf("%s both reads and moves money", op)
		}
		if op.ReadTimeout() < 20e9 {
			t.Errorf("%s waits %s, less than LINE Pay asks for", op, op.ReadTimeout())
		}
	}
	if Operation("").Reads() {
		t.Error("an unknown operation must not count as reading")
	}
}
