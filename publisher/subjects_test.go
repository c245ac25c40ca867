package publisher

import (
	"strconv"
	"testing"
)

// reach gives a subject as a publish would find it, and leaves it.
func reach(t *testing.T, s subjects, name string, shared bool) *subject {
	t.Helper()
	known, err := s.subject(t.Context(), name, shared)
	if err != nil {
		t.Fatal(err)
	}
	known.leave()
	return known
}

func TestSubjectsAreRememberedUntilThereAreTooMany(t *testing.T) {
	t.Parallel()
	s := newSubjects()
	first := reach(t, s, "0", false)
	for i := 1; i < mostSubjects; i++ {
		reach(t, s, strconv.Itoa(i), false)
	}
	if len(s.known) != mostSubjects || reach(t, s, "0", false) != first {
		t.Errorf("%d subjects are known, want %d, with the first among them", len(s.known), mostSubjects)
	}
	reach(t, s, "one more", false)
	if len(s.known) != 1 || reach(t, s, "0", false) == first {
		t.Errorf("%d subjects are known after one more than there may be, want the newest alone", len(s.known))
	}
}

func TestIDsAreRememberedWithoutEndOnlyWhereASubjectHasOne(t *testing.T) {
	t.Parallel()
	for shared, want := range map[bool]int{true: 1, false: mostShared + 1} {
		known := reach(t, newSubjects(), "subject", shared)
		for i := range mostShared {
			known.add(uint64(i), strconv.Itoa(i))
		}
		if len(known.ids) != mostShared {
			t.Errorf("shared %t: %d ids are known, want %d", shared, len(known.ids), mostShared)
		}
		known.add(mostShared, "one more")
		if len(known.ids) != want || !known.ids["one more"] || known.last != mostShared {
			t.Errorf("shared %t: %d ids are known after one more, want %d", shared, len(known.ids), want)
		}
	}
}
