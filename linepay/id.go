package linepay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TransactionID identifies a payment or a refund at LINE Pay: an integer from 1 to 2^63-1, usually of 19 digits.
//
// It is read exactly from a JSON integer (as LINE Pay sends it) or a string of digits, never through a float, and always written as a
// string: most JSON readers would round the number, as LINE Pay's overview page warns. The zero value means "no id".
type TransactionID int64

// ErrTransactionID is wrapped by every error about a malformed transaction id.
var ErrTransactionID = errors.New("a transaction id is a string of digits or an integer from 1 to 9223372036854775807")

// ParseTransactionID reads decimal digits without sign, leading zero or surrounding space.
func ParseTransactionID(s string) (TransactionID, error) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, fmt.Errorf("%w, not %q", ErrTransactionID, clip(s))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w, not %q", ErrTransactionID, clip(s))
	}
	return TransactionID(n), nil
}

// String gives the digits, or "" for the zero value.
func (id TransactionID) String() string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(int64(id), 10)
}

// MarshalJSON writes a JSON string of digits.
func (id TransactionID) MarshalJSON() ([]byte, error) {
	return []byte(`"` + id.String() + `"`), nil
}

// UnmarshalJSON reads a JSON integer written in plain digits, or a string of digits.
func (id *TransactionID) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	parsed, err := ParseTransactionID(s)
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// clip keeps error messages short however long the input was.
func clip(s string) string { return clipTo(s, 40) }

// clipTo keeps at most so many bytes, and no half characters.
func clipTo(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
