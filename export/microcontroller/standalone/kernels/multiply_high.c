/* Fixed-point arithmetic of quantised networks (Jacob et al. 2018, arXiv:1712.05877,
   section 2.2): a real factor is multiplier * 2^(shift - 31), 2^30 <= multiplier < 2^31.
   A right shift of a negative number rounds down, as every C compiler in use does. */

/* 2 * a * b / 2^32, halves rounded up; a and b are not both -2^31. */
static int32_t multiply_high(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + ((int64_t)1 << 30)) >> 31);
}

/* value / 2^exponent, halves rounded away from zero; 0 <= exponent <= 31. */
static int32_t divide_by_power(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t below_half = (mask >> 1) + (value < 0);
    return (value >> exponent) + ((value & mask) > below_half);
}
