using Npgsql;
using NpgsqlTypes;

namespace Scheduler.Postgres.State;

/// <summary>Statements of a batch with positional, typed parameters. Stateless.</summary>
internal static class BatchExtensions
{
    /// <summary>Adds a statement; its parameters follow in the order of <c>$1</c>, <c>$2</c> and so on.</summary>
    public static NpgsqlParameterCollection Add(this NpgsqlBatch batch, string sql)
    {
        var command = new NpgsqlBatchCommand(sql);
        batch.BatchCommands.Add(command);
        return command.Parameters;
    }

    /// <summary>Sets the limits for the transaction alone, and how it is planned; has a row of its own.</summary>
    public static void AddLimits(this NpgsqlBatch batch, TimeSpan limit, TimeSpan lockLimit) =>
        batch
            .Add(
                "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true), "
                    + "set_config('idle_in_transaction_session_timeout', $1, true), set_config('enable_seqscan', 'off', true), "
                    + "set_config('jit', 'off', true)"
            )
            .Text(StatePlace.Milliseconds(limit))
            .Text(StatePlace.Milliseconds(lockLimit));

    public static NpgsqlParameterCollection Text(this NpgsqlParameterCollection parameters, string? value) =>
        parameters.Typed(NpgsqlDbType.Text, value);

    public static NpgsqlParameterCollection Id(this NpgsqlParameterCollection parameters, Guid value) =>
        parameters.Typed(NpgsqlDbType.Uuid, value);

    public static NpgsqlParameterCollection Number(this NpgsqlParameterCollection parameters, int value) =>
        parameters.Typed(NpgsqlDbType.Integer, value);

    public static NpgsqlParameterCollection Number(this NpgsqlParameterCollection parameters, long value) =>
        parameters.Typed(NpgsqlDbType.Bigint, value);

    public static NpgsqlParameterCollection Number(this NpgsqlParameterCollection parameters, int? value) =>
        parameters.Typed(NpgsqlDbType.Integer, value);

    public static NpgsqlParameterCollection Flag(this NpgsqlParameterCollection parameters, bool value) =>
        parameters.Typed(NpgsqlDbType.Boolean, value);

    /// <summary>A time, cut to milliseconds: the records of all States have whole ones.</summary>
    public static NpgsqlParameterCollection Time(this NpgsqlParameterCollection parameters, DateTimeOffset? value) =>
        parameters.Typed(NpgsqlDbType.TimestampTz, value is { } time ? Times.Of(time) : null);

    public static NpgsqlParameterCollection Interval(this NpgsqlParameterCollection parameters, TimeSpan value) =>
        parameters.Typed(NpgsqlDbType.Interval, value);

    public static NpgsqlParameterCollection Texts(this NpgsqlParameterCollection parameters, string?[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Text, values);

    public static NpgsqlParameterCollection Flags(this NpgsqlParameterCollection parameters, bool[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Boolean, values);

    public static NpgsqlParameterCollection Blob(this NpgsqlParameterCollection parameters, ReadOnlyMemory<byte> value) =>
        parameters.Typed(NpgsqlDbType.Bytea, value);

    public static NpgsqlParameterCollection Bytes(this NpgsqlParameterCollection parameters, ReadOnlyMemory<byte>[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Bytea, values);

    public static NpgsqlParameterCollection Ids(this NpgsqlParameterCollection parameters, Guid[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Uuid, values);

    public static NpgsqlParameterCollection Numbers(this NpgsqlParameterCollection parameters, int[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Integer, values);

    public static NpgsqlParameterCollection Numbers(this NpgsqlParameterCollection parameters, long[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.Bigint, values);

    /// <summary>Times, cut to milliseconds.</summary>
    public static NpgsqlParameterCollection TimeList(this NpgsqlParameterCollection parameters, DateTime?[] values) =>
        parameters.Typed(NpgsqlDbType.Array | NpgsqlDbType.TimestampTz, values);

    private static NpgsqlParameterCollection Typed(this NpgsqlParameterCollection parameters, NpgsqlDbType type, object? value)
    {
        parameters.Add(new NpgsqlParameter { NpgsqlDbType = type, Value = value ?? DBNull.Value });
        return parameters;
    }
}

/// <summary>Times as the tables keep them: UTC, whole milliseconds.</summary>
internal static class Times
{
    public static DateTime Of(DateTimeOffset time) =>
        DateTime.SpecifyKind(new DateTime(time.UtcTicks - (time.UtcTicks % TimeSpan.TicksPerMillisecond)), DateTimeKind.Utc);

    public static DateTimeOffset From(DateTime time) => new(DateTime.SpecifyKind(time, DateTimeKind.Utc));
}
