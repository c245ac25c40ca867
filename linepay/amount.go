package linepay

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/shopspring/decimal"
)

// Amount is an exact decimal sum of money. It is read from a JSON number or a decimal string and compared by value: 1000, "1000" and
// "1000.00" are one amount. On the bus it is written as a decimal string; LINE Pay gets a JSON number (see Literal).
// The zero value is 0.
type Amount struct{ value decimal.Decimal }

// ErrAmount is wrapped by every error about a malformed amount.
var ErrAmount = errors.New("an amount is a JSON number or a decimal string such as \"1000\" or \"10.50\"")

// Amounts are bounded so that no input can ask for gigabytes of digits: at most 18 digits before the point and 18 behind it.
const maxAmountDigits = 18

var (
	decimalString = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$`)
	decimalNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?$`)
)

// ParseAmount reads a decimal string such as "1000" or "10.50"; no exponent, no plus sign, no spaces, no thousands separators.
func ParseAmount(s string) (Amount, error) {
	if !decimalString.MatchString(s) {
		return Amount{}, fmt.Errorf("%w, not %q", ErrAmount, clip(s))
	}
	return parseDecimal(s)
}

// MustAmount is ParseAmount for constants; it panics on a malformed one.
func MustAmount(s string) Amount {
	a, err := ParseAmount(s)
	if err != nil {
		panic(err)
	}
	return a
}

func parseDecimal(s string) (Amount, error) {
	d, err := decimal.NewFromString(s)
	// The exponent has been limited to two digits, so neither comparison nor scale can be made to grow.
	if err != nil || d.Abs().Cmp(decimal.New(1, maxAmountDigits)) >= 0 || (Amount{d}).Scale() > maxAmountDigits {
		return Amount{}, fmt.Errorf("%w, not %q", ErrAmount, clip(s))
	}
	return Amount{d}, nil
}

// String gives the shortest plain decimal: no exponent, no trailing zeros behind the point.
func (a Amount) String() string {
	s := a.value.String()
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Scale is the number of digits behind the point that the value needs: 0 for 1000.00, 1 for 10.5.
func (a Amount) Scale() int {
	_, fraction, _ := strings.Cut(a.String(), ".")
	return len(fraction)
}

// Sign is -1, 0 or +1.
func (a Amount) Sign() int { return a.value.Sign() }

// IsZero reports whether the amount is 0.
func (a Amount) IsZero() bool { return a.value.IsZero() }

// Equal compares by value.
func (a Amount) Equal(b Amount) bool { return a.value.Equal(b.value) }

// Cmp is -1, 0 or +1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return a.value.Cmp(b.value) }

// Add gives a + b, exactly.
func (a Amount) Add(b Amount) Amount { return Amount{a.value.Add(b.value)} }

// Sub gives a - b, exactly.
func (a Amount) Sub(b Amount) Amount { return Amount{a.value.Sub(b.value)} }

// Mul gives a × b, exactly.
func (a Amount) Mul(b Amount) Amount { return Amount{a.value.Mul(b.value)} }

// Neg gives -a.
func (a Amount) Neg() Amount { return Amount{a.value.Neg()} }

// Literal is the JSON number for LINE Pay's request bodies. It never has a needless fraction: LINE Pay judges the scale of the literal
// itself and refuses 20.0 yen with 1124 (seen on the sandbox).
func (a Amount) Literal() []byte { return []byte(a.String()) }

// MarshalJSON writes a JSON string.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// UnmarshalJSON reads a JSON number (an exponent of up to two digits is allowed) or a decimal string.
func (a *Amount) UnmarshalJSON(b []byte) (err error) {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' {
		*a, err = ParseAmount(s[1 : len(s)-1])
		return err
	}
	if !decimalNumber.MatchString(s) {
		return fmt.Errorf("%w, not %q", ErrAmount, clip(s))
	}
	*a, err = parseDecimal(s)
	return err
}

// CurrencyScale is the number of decimals that LINE Pay takes for a currency: TWD and JPY 0, USD and THB 2 (ISO 4217; LINE Pay's pages
// have no table). The second value is false for a currency that LINE Pay does not know.
func CurrencyScale(currency string) (int, bool) {
	switch currency {
	case "TWD", "JPY":
		return 0, true
	case "USD", "THB":
		return 2, true
	default:
		return 0, false
	}
}
