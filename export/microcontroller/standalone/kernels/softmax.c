/* Softmax in whole numbers. Qm.n is a number with m bits before and n behind the point.

   exp(-x) is a product: of the constants exp(-2^k) for the bits of x from 1/4 on, and of
   a polynomial of degree 4 for the rest, around -1/8. 1 / sum is found by Newton's
   iteration for the reciprocal, three times, from the line 48/17 - 32/17 x, which is the
   best for 1/2 <= x <= 1. */

typedef struct {
    int32_t count, multiplier, shift; /* the factor from differences to Q5.26 */
    int32_t smallest;                 /* difference whose exponential counts */
} Softmax;

/* value * 2^bits; the ends of the range where that is larger. */
static int32_t shift_up(int32_t value, int32_t bits)
{
    const int64_t shifted = (int64_t)value * ((int64_t)1 << bits);
    if (shifted > INT32_MAX) return INT32_MAX;
    return shifted < INT32_MIN ? INT32_MIN : (int32_t)shifted;
}

/* exp(a) in Q0.31 for -1/4 <= a < 0 in Q0.31. */
static int32_t exponential_of_rest(int32_t a)
{
    const int32_t exp_of_eighth = 1895147668; /* exp(-1/8) */
    const int32_t third = 715827883;
    const int32_t x = a + (1 << 28);
    const int32_t x2 = multiply_high(x, x);
    const int32_t x3 = multiply_high(x2, x);
    const int32_t x4 = multiply_high(x2, x2);
    const int32_t tail = multiply_high(divide_by_power(x4, 2) + x3, third) + x2;
    const int32_t series = x + divide_by_power(tail, 1);
    return exp_of_eighth + multiply_high(exp_of_eighth, series);
}

/* exp(a) in Q0.31 for a <= 0 in Q5.26. */
static int32_t exponential(int32_t a)
{
    /* exp(-1/4), exp(-1/2), exp(-1), exp(-2), exp(-4), exp(-8), exp(-16) */
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    const int32_t quarter = 1 << 24;
    const int32_t rest = (a & (quarter - 1)) - quarter;
    const int32_t whole = rest - a;
    if (a == 0) return INT32_MAX;
    int32_t result = exponential_of_rest(rest * 32);
    for (int32_t i = 0; i < 7; ++i)
        if (whole & (1 << (24 + i))) result = multiply_high(result, factors[i]);
    return result;
}

/* 1 / (1 + a) in Q0.31 for 0 <= a < 1 in Q0.31. */
static int32_t reciprocal_of_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2); /* (1 + a) / 2 */
    const int32_t one = 1 << 29;                                       /* in Q2.29 */
    int32_t x = 1515870810 + multiply_high(half, -1010580540);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t error = one - multiply_high(half, x);
        x += shift_up(multiply_high(x, error), 2);
    }
    return shift_up(x, 1);
}

static int32_t leading_zeros(uint32_t value)
{
    int32_t count = 0;
    while (count < 32 && !(value & ((uint32_t)1 << (31 - count)))) ++count;
    return count;
}

static int32_t softmax_exponential(const Softmax *s, int32_t difference)
{
    return exponential(
        multiply_high(difference * ((int32_t)1 << s->shift), s->multiplier));
}

static void softmax(const Softmax *s, const int8_t *input, int8_t *output)
{
    int32_t largest = -128, sum = 0; /* the sum in Q12.19 */
    for (int32_t i = 0; i < s->count; ++i)
        if (input[i] > largest) largest = input[i];
    for (int32_t i = 0; i < s->count; ++i)
        if (input[i] - largest >= s->smallest)
            sum += divide_by_power(softmax_exponential(s, input[i] - largest), 12);
    const int32_t zeros = leading_zeros((uint32_t)sum);
    const uint32_t fraction = ((uint32_t)sum << zeros) - ((uint32_t)1 << 31);
    const int32_t scale = reciprocal_of_one_plus((int32_t)fraction);
    for (int32_t i = 0; i < s->count; ++i) {
        output[i] = -128;
        if (input[i] - largest < s->smallest) continue;
        const int32_t share =
            multiply_high(scale, softmax_exponential(s, input[i] - largest));
        const int32_t steps = divide_by_power(share, 12 - zeros + 31 - 8);
        output[i] = (int8_t)clamp(steps - 128, -128, 127);
    }
}
