using System.Data.Common;

namespace Scheduler.MySql.Fencing;

/// <summary>Fenced work was not done within its time limit. The message names resource, database and remedy.</summary>
public sealed class MySqlFenceException : DbException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">What was not done, where, and what to do.</param>
    /// <param name="innerException">What ended it.</param>
    public MySqlFenceException(string message, Exception? innerException = null)
        : base(message, innerException) { }
}
