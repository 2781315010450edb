using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>A completion with the id as the table has it.</summary>
internal readonly record struct Ending(Guid Id, Completion Completion);

/// <summary>Completions: a function in the schema ends the newest attempt. Thread-safe.</summary>
internal sealed class CompletionCommand(StateDatabase database, RunQueries queries, string group)
{
    /// <summary>Records completions, each by itself, in one transaction.</summary>
    public ValueTask<CompletionResult[]> RunAsync(IReadOnlyList<Ending> endings, CancellationToken cancellationToken) =>
        database.CallAsync<CompletionResult[]>(
            batch => Fill(batch, endings),
            async reader =>
            {
                await reader.ReadAsync();
                // Nothing: all count.
                var accepted =
                    reader.IsDBNull(0) ? null
                    : endings.Count == 1 ? [reader.GetBoolean(0)]
                    : reader.GetFieldValue<bool[]>(0);
                return [.. endings.Select((_, i) => accepted?[i] == false ? CompletionResult.Refused : CompletionResult.Accepted)];
            },
            cancellationToken
        );

    private void Fill(NpgsqlBatch batch, IReadOnlyList<Ending> endings)
    {
        if (endings is [var (id, completion)])
        {
            var (state, failures) = LedgerRules.Effect(completion);
            batch
                .Add(queries.CompleteRun)
                .Text(group)
                .Id(id)
                .Number(completion.Attempt)
                .Number(completion.Token.Value)
                .Text(RunReader.NameOf(completion.Outcome))
                .Text(RunReader.NameOf(state))
                .Number(failures)
                .Time(completion.StartedAt)
                .Time(completion.Now)
                .Time(LedgerRules.NextAttempt(completion))
                .Text(Texts.Keepable(LedgerRules.ErrorOf(completion)));
            return;
        }
        var effects = endings.Select(e => LedgerRules.Effect(e.Completion)).ToList();
        batch
            .Add(queries.CompleteRuns)
            .Text(group)
            .Ids([.. endings.Select(e => e.Id)])
            .Numbers([.. endings.Select(e => e.Completion.Attempt)])
            .Numbers([.. endings.Select(e => e.Completion.Token.Value)])
            .Texts([.. endings.Select(e => RunReader.NameOf(e.Completion.Outcome))])
            .Texts([.. effects.Select(e => RunReader.NameOf(e.State))])
            .Numbers([.. effects.Select(e => e.Failures)])
            .TimeList([.. endings.Select(e => e.Completion.StartedAt is { } started ? Times.Of(started) : (DateTime?)null)])
            .TimeList([.. endings.Select(e => (DateTime?)Times.Of(e.Completion.Now))])
            .TimeList([.. endings.Select(e => LedgerRules.NextAttempt(e.Completion) is { } next ? Times.Of(next) : (DateTime?)null)])
            .Texts([.. endings.Select(e => Texts.Keepable(LedgerRules.ErrorOf(e.Completion)))]);
    }
}
