/* Starts main() on QEMU's boards mps2 and counts instructions with their timer 0. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t __data_source, __data_start, __data_end, __bss_start, __bss_end;
extern uint32_t __stack_top;
extern int main(void);
extern void model_reset(void);
extern void initialise_monitor_handles(void);

#define TIMER ((volatile uint32_t *)0x40000000) /* control, value, reload */

/* 25 million ticks a second of virtual time. With -icount shift=0 an instruction takes a
   nanosecond, so a tick is 40 instructions. The timer counts down. */
uint32_t model_clock(void) { return UINT32_MAX - TIMER[1]; }

void model_reset(void)
{
    const size_t data = (size_t)((char *)&__data_end - (char *)&__data_start);
    memcpy(&__data_start, &__data_source, data);
    memset(&__bss_start, 0, (size_t)((char *)&__bss_end - (char *)&__bss_start));
    TIMER[2] = UINT32_MAX;
    TIMER[1] = UINT32_MAX;
    TIMER[0] = 1;
    initialise_monitor_handles();
    exit(main());
}

static void fail(void) { _Exit(2); }

/* newlib calls them around main(); there are no constructors. */
void _init(void) {}
void _fini(void) {}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &__stack_top, (void *)model_reset, (void *)fail, (void *)fail,
    (void *)fail, (void *)fail,  (void *)fail,
};
