package report

import "testing"

func TestFellToQEMU(t *testing.T) {
	for text, want := range map[string]bool{
		"vmm: vCPU 0: SHUTDOWN: triple fault\n" + RegistersLost + "\n":                true,
		"    gdt fffffe7a7227e000+007f  idt fffffe0000000000+0fff  tr 0030\n":         true, // Linux's table in a vCPU of ours
		"    gdt ffffa08000048358+003f  idt ffffffff80bd86a0+05ff  tr 0030\n":         false,
		"vmm: the kernel panicked (power-off code 1)\nringo: fatal: #PF page fault\n": false,
	} {
		if got := FellToQEMU(text); got != want {
			t.Errorf("FellToQEMU(%q) = %v", text, got)
		}
	}
}
