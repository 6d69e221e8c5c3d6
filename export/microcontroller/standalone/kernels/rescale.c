/* value times the real factor; it is rounded twice, as by the reference kernels. */
static int32_t rescale(int32_t value, int32_t multiplier, int32_t shift)
{
    if (shift > 0)
        return multiply_high((int32_t)((uint32_t)value << shift), multiplier);
    return divide_by_power(multiply_high(value, multiplier), -shift);
}
