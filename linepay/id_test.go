package linepay

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestTransactionIDSurvivesEveryRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, math.MaxInt64).Draw(t, "id")
		digits := strconv.FormatInt(n, 10)
		for _, literal := range []string{digits, `"` + digits + `"`} {
			var id TransactionID
			if err := json.Unmarshal([]byte(literal), &id); err != nil {
				t.Fatal(err)
			}
			written, err := json.Marshal(id)
			if err != nil {
				t.Fatal(err)
			}
			if int64(id) != n || id.String() != digits || string(written) != `"`+digits+`"` {
				t.Fatalf("%s became %d, %q, %s", literal, id, id, written)
			}
		}
	})
}

func TestTransactionIDRefusesWhatIsNotOne(t *testing.T) {
	t.Parallel()
	for _, literal := range []string{
		`0`, `-1`, `1.0`, `1e3`, `9223372036854775808`, `9999999999999999999`, `""`, `"0"`, `"007"`, `"+7"`, `" 7"`, `"7 "`, `"1e3"`,
		`"9223372036854775808"`, `"seven"`, `"\u0037"`, `null`, `true`, `{}`, `[7]`,
	} {
		var id TransactionID
		if err := json.Unmarshal([]byte(literal), &id); !errors.Is(err, ErrTransactionID) || id != 0 {
			t.Errorf("%s: id %d, error %v; want ErrTransactionID", literal, id, err)
		}
	}
}

func TestTransactionIDZeroMeansNone(t *testing.T) {
	t.Parallel()
	if s := TransactionID(0).String(); s != "" {
		t.Errorf("String = %q", s)
	}
	b, err := json.Marshal(CaptureInfo{})
	if err != nil || string(b) != "{}" {
		t.Errorf("an empty info is %s, %v", b, err)
	}
}

func TestErrorsAboutIDsStayShort(t *testing.T) {
	t.Parallel()
	_, err := ParseTransactionID(strings.Repeat("é", 5000))
	if err == nil || len(err.Error()) > 250 || strings.ContainsRune(err.Error(), '\uFFFD') {
		t.Errorf("error %v", err)
	}
}

func FuzzTransactionID(f *testing.F) {
	for _, seed := range []string{`1`, `"2018082512345678910"`, `9223372036854775807`, `9223372036854775808`, `1e18`, `-0`, `"`, `""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, literal string) {
		var id TransactionID
		if err := json.Unmarshal([]byte(literal), &id); err != nil {
			return
		}
		if id <= 0 || strings.Trim(strings.TrimSpace(literal), `"`) != fmt.Sprint(int64(id)) {
			t.Fatalf("%q was read as %d", literal, id)
		}
	})
}
