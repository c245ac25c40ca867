package linepay

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestAmountIsReadExactly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		literal, want string
		scale         int
	}{
		{`1000`, "1000", 0},
		{`"1000"`, "1000", 0},
		{`"1000.00"`, "1000", 0},
		{`1000.0`, "1000", 0},
		{`1e3`, "1000", 0},
		{`1.5E+2`, "150", 0},
		{`125e-1`, "12.5", 1},
		{`10.50`, "10.5", 1},
		{`0.1`, "0.1", 1},
		{`-20`, "-20", 0},
		{`-0`, "0", 0},
		{`-0.00`, "0", 0},
		{`0e99`, "0", 0},
		{`9007199254740993.01`, "9007199254740993.01", 2},
		{`"999999999999999999.999999999999999999"`, "999999999999999999.999999999999999999", 18},
	} {
		var a Amount
		if err := json.Unmarshal([]byte(row.literal), &a); err != nil {
			t.Errorf("%s: %v", row.literal, err)
			continue
		}
		written, err := json.Marshal(a)
		if err != nil || string(written) != `"`+row.want+`"` || a.String() != row.want || string(a.Literal()) != row.want || a.Scale() != row.scale {
			t.Errorf("%s: %s, literal %s, on the bus %s (%v), scale %d; want %s, scale %d", row.literal, a, a.Literal(), written, err, a.Scale(), row.want, row.scale)
		}
	}
}

func TestAmountRefusesWhatIsNotOne(t *testing.T) {
	t.Parallel()
	for _, literal := range []string{
		`""`, `"."`, `"1."`, `".5"`, `"+1"`, `" 1"`, `"1 "`, `"1,000"`, `"1e3"`, `"0x10"`, `"01"`, `"--1"`, `"NaN"`, `"Infinity"`, `null`, `true`, `[1]`, `{}`,
		`1e18`, `1e99`, `1e-99`, `1e-19`, `1e100`, `1e999999999`, `1000000000000000000`, `"1000000000000000000"`, `0.0000000000000000001`,
	} {
		var a Amount
		if err := json.Unmarshal([]byte(literal), &a); !errors.Is(err, ErrAmount) || !a.IsZero() {
			t.Errorf("%s: %s, error %v; want ErrAmount", literal, a, err)
		}
	}
}

func TestAmountComputesExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (Amount, *big.Rat) {
			s := rapid.StringMatching(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?`).Draw(t, name)
			a, err := ParseAmount(s)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := new(big.Rat).SetString(s)
			return a, r
		}
		a, ra := draw("a")
		b, rb := draw("b")
		for _, row := range []struct {
			op   string
			got  Amount
			want *big.Rat
		}{
			{"same", a, ra},
			{"+", a.Add(b), new(big.Rat).Add(ra, rb)},
			{"-", a.Sub(b), new(big.Rat).Sub(ra, rb)},
			{"*", a.Mul(b), new(big.Rat).Mul(ra, rb)},
			{"neg", a.Neg(), new(big.Rat).Neg(ra)},
		} {
			got, ok := new(big.Rat).SetString(row.got.String())
			if !ok || got.Cmp(row.want) != 0 || strings.ContainsAny(row.got.String(), "eE+") {
				t.Fatalf("%s of %s and %s is %s", row.op, a, b, row.got)
			}
		}
		if a.Cmp(b) != ra.Cmp(rb) || a.Equal(b) != (ra.Cmp(rb) == 0) || a.Sign() != ra.Sign() || a.IsZero() != (ra.Sign() == 0) {
			t.Fatalf("comparison of %s and %s", a, b)
		}
		text, number := Amount{}, Amount{}
		if err := json.Unmarshal([]byte(`"`+a.String()+`"`), &text); err != nil || !text.Equal(a) {
			t.Fatalf("%s as a string: %v", a, err)
		}
		if err := json.Unmarshal(a.Literal(), &number); err != nil || !number.Equal(a) {
			t.Fatalf("%s as a number: %v", a, err)
		}
	})
}

func TestMustAmountPanicsOnNonsense(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, ErrAmount) {
			t.Errorf("recovered %v", err)
		}
	}()
	MustAmount("ten")
}

func TestCurrencyScaleKnowsLinePaysCurrenciesAlone(t *testing.T) {
	t.Parallel()
	for currency, want := range map[string]int{"TWD": 0, "JPY": 0, "USD": 2, "THB": 2} {
		if got, ok := CurrencyScale(currency); !ok || got != want {
			t.Errorf("%s: %d, %v", currency, got, ok)
		}
	}
	for _, currency := range []string{"", "EUR", "twd"} {
		if _, ok := CurrencyScale(currency); ok {
			t.Errorf("%q is known", currency)
		}
	}
}

func FuzzAmount(f *testing.F) {
	for _, seed := range []string{`1000`, `"10.50"`, `-1`, `1e3`, `0e99`, `1e-18`, `0.1`, `"`, `9e99`, `-0.0`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, literal string) {
		var a Amount
		if err := json.Unmarshal([]byte(literal), &a); err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(strings.Trim(strings.TrimSpace(literal), `"`))
		got, okay := new(big.Rat).SetString(a.String())
		if !ok || !okay || want.Cmp(got) != 0 {
			t.Fatalf("%q was read as %s", literal, a)
		}
		var again Amount
		if err := json.Unmarshal([]byte(fmt.Sprintf("%q", a)), &again); err != nil || !again.Equal(a) {
			t.Fatalf("%s came back as %s: %v", a, again, err)
		}
	})
}
